package report

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// checkFacts are the lines about the checks: how many say what, and each that is not ok.
func checkFacts(checks []audit.Finding) []string {
	if len(checks) == 0 {
		return nil
	}
	lines := []string{"checks", sum(checks)}
	for _, c := range checks {
		if c.Verdict != audit.OK && c.Verdict != audit.Skipped {
			lines = append(lines, "check "+c.Name, said[c.Verdict]+": "+c.Detail)
		}
	}
	return lines
}

// said is what people read.
var said = map[audit.Outcome]string{
	audit.OK: "ok", audit.Warn: "warning", audit.Fail: "FAILED", audit.Stopped: "not decided", audit.Skipped: "left out",
}

// sum counts the checks by their verdict, the worst first.
func sum(checks []audit.Finding) string {
	if len(checks) == 0 {
		return show.Missing
	}
	count := map[audit.Outcome]int{}
	for _, c := range checks {
		count[c.Verdict]++
	}
	var parts []string
	for _, v := range []audit.Outcome{audit.Fail, audit.Stopped, audit.Warn, audit.OK, audit.Skipped} {
		n := count[v]
		if n == 0 {
			continue
		}
		word := said[v]
		if v == audit.Warn && n > 1 {
			word = "warnings"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, word))
	}
	return strings.Join(parts, ", ")
}
