// Package redteam attacks bounds and certificates: it draws hostile networks, and
// judges what is claimed of them by exact arithmetic and by float32 executions in the
// orders of summation that hurt most. It shares no arithmetic with what it attacks, and
// serves tests alone.
package redteam
