package net

import (
	"fmt"
	"math"
	"slices"
)

// Property is what to prove of the outputs z of a network, channels first: a
// conjunction of clauses, each a disjunction of linear constraints C·z + D > 0.
//
// Over a region it is proved if in every clause one row is proved to be positive on all
// of the region. That is enough, not necessary: where one row holds on a part of the
// region and another one on the rest, the clause is true but not proved until the
// region is divided.
//
// It is violated by an input for which all rows of one clause are at most 0.
//
// A row is evaluated exactly, on exact and on executed outputs.
type Property struct {
	C []float32 // [rows][outputs]
	D []float32 // [rows]; nil: zeros

	// Clauses holds the number of rows of each clause, in order; nil: each row is a
	// clause of its own.
	Clauses []int
}

// LabelProperty says that output y is larger than each of the others.
func LabelProperty(outputs, y int) *Property {
	p := &Property{C: make([]float32, (outputs-1)*outputs)}
	for k := range outputs - 1 {
		row := p.C[k*outputs:][:outputs]
		row[y] = 1
		if k < y {
			row[k] = -1
		} else {
			row[k+1] = -1
		}
	}
	return p
}

// Validate names the first field that makes no sense for a network with that number
// of outputs.
func (p *Property) Validate(outputs int) error {
	if outputs == 0 || len(p.C) == 0 || len(p.C)%outputs != 0 {
		return fmt.Errorf("property: C has %d coefficients, want a positive multiple of %d outputs", len(p.C), outputs)
	}
	rows := len(p.C) / outputs
	if p.D != nil && len(p.D) != rows {
		return fmt.Errorf("property: D has %d constants, want one for each of %d rows", len(p.D), rows)
	}
	for i, list := range [][]float32{p.C, p.D} {
		if k := notFinite(list); k >= 0 {
			return fmt.Errorf("property: %c[%d] is %v, want finite numbers", 'C'+i, k, list[k])
		}
	}
	if p.Clauses == nil {
		return nil
	}
	sum := 0
	for k, n := range p.Clauses {
		if n < 1 || n > rows-sum {
			return fmt.Errorf("property: clause %d has %d rows, want 1 … %d, those that are left of %d", k, n, rows-sum, rows)
		}
		sum += n
	}
	if sum != rows {
		return fmt.Errorf("property: clauses of %d rows, want all %d", sum, rows)
	}
	return nil
}

// notFinite returns the index of the first number that is not finite, or −1.
func notFinite(list []float32) int {
	for k, v := range list {
		if v-v != 0 {
			return k
		}
	}
	return -1
}

// Margin returns a lower bound of the property from those of its rows: the smallest over
// its clauses of the largest of their rows. Positive, the property is proved.
func (p *Property) Margin(rows []float32) float32 {
	m := float32(math.Inf(1))
	if p.Clauses == nil {
		for _, v := range rows {
			m = min(m, v)
		}
		return m
	}
	for _, n := range p.Clauses {
		m, rows = min(m, slices.Max(rows[:n])), rows[n:]
	}
	return m
}

// ClauseMargins returns lower bounds of the clauses from those of the rows.
func (p *Property) ClauseMargins(rows []float32) []float32 {
	if p.Clauses == nil {
		return slices.Clone(rows)
	}
	var m []float32
	for _, n := range p.Clauses {
		m, rows = append(m, slices.Max(rows[:n])), rows[n:]
	}
	return m
}

// CheckBox names the first reason why lo and hi are not the ends of a box of inputs of
// size numbers: finite numbers in order.
func CheckBox(lo, hi []float32, size int) error {
	if len(lo) != size || len(hi) != size {
		return fmt.Errorf("box: lo has %d numbers and hi %d, want %d", len(lo), len(hi), size)
	}
	for k, v := range lo {
		if w := hi[k]; v-v != 0 || w-w != 0 || v > w {
			return fmt.Errorf("box: input %d is in [%v, %v], want finite numbers in order", k, v, w)
		}
	}
	return nil
}

// ClauseRows returns the number of rows of each clause, for a network with that number of
// outputs.
func (p *Property) ClauseRows(outputs int) []int {
	if p.Clauses != nil {
		return p.Clauses
	}
	return slices.Repeat([]int{1}, len(p.C)/outputs)
}
