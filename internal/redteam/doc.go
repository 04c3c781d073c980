// Package redteam attacks bounds and certificates: it draws hostile networks, and
// judges what is claimed of them by exact arithmetic and by float32 executions that
// look for the order of summation that hurts most. It shares no code with what it
// attacks, and serves tests alone.
package redteam
