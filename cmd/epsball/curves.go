package main

import (
	"io"

	"github.com/epsball/epsball/report"
)

func securityCurve(w io.Writer, r *report.Eval) error        { return nil }
func attackCurve(w io.Writer, r *report.AttackTable) error   { return nil }
func certifyCurve(w io.Writer, r *report.CertifyTable) error { return nil }
