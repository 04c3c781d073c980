package main

// emitLimits emits the probes of the machine's own limits, and what waits.
func emitLimits(t target) {
	const n reg = 0
	if t.span() == 1 {
		t.text("Pause", "tells the CPU n times that the thread is waiting.", "n int", 8)
		t.loadArg(n, "n", 0)
		t.label("again")
		t.pause()
		t.dec(n)
		t.jump(notZero, "again")
		t.ret()
	}
	const accs = 12
	t.text("PeakFMA", "runs n × 24 independent FMAs on lane vectors: the arithmetic limit.", "n int", 8)
	explain(t, `loop: independent FMAs.
%s turns left; %s sums, the next two are multiplied.`, n, run{unit{0, t.span()}.of(0), accs})
	t.loadArg(n, "n", 0)
	for v := range vec(t.vecs()) {
		t.vzero(v)
	}
	t.label("loop")
	wide := unit{0, t.span()}
	for range 2 / t.span() {
		for v := range vec(accs) {
			t.vfma(wide.of(v), wide.of(accs), wide.of(accs+1))
		}
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()

	const p, cur, cnt, reps reg = 1, 2, 3, 4
	t.text("ReadMemory", "loads n × 256 bytes at p, reps times: the bandwidth limit.", "p unsafe.Pointer, n, reps int", 24)
	explain(t, `outer: all of it, loop: 256 bytes a turn.
%s start, %s current address, %s turns and %s repetitions left.`, p, cur, cnt, reps)
	t.loadArg(p, "p", 0)
	t.loadArg(n, "n", 8)
	t.loadArg(reps, "reps", 16)
	t.label("outer")
	t.move(cur, p)
	t.move(cnt, n)
	t.label("loop")
	for i, u := range units(t, 8) {
		t.vload(u.of(vec(i)), at(cur, 32*u.first))
	}
	t.addImm(cur, 256)
	t.dec(cnt)
	t.jump(notZero, "loop")
	t.dec(reps)
	t.jump(notZero, "outer")
	t.ret()
}
