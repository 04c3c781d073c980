package vnnlib

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// group is a case while it is collected.
type group struct {
	own       map[variable]Interval // where its box is not p.box
	seen      map[string]bool
	disjuncts []Conjunction
}

// cases sorts the disjuncts of p.total by their boxes.
func (p *parser) cases() []Case {
	var holes []variable // inputs without a bound for all
	for i, iv := range p.box {
		if iv.empty() {
			return nil
		}
		if iv.Lo == nil || iv.Hi == nil {
			holes = append(holes, variable(i))
		}
	}
	same := p.sameFacts()
	groups, byBox := []*group(nil), map[string]*group{}
	for _, facts := range p.total {
		own, ok := p.ownBox(facts)
		if !ok {
			continue
		}
		for _, v := range holes {
			iv, ok := own[v]
			if !ok {
				iv = p.box[v]
			}
			end := "lower"
			if iv.Lo != nil {
				end = "upper"
			}
			if iv.Lo == nil || iv.Hi == nil {
				p.fail(p.tok.at, "got no %s bound of %s, expected one in every disjunct", end, p.q.name(v))
			}
		}
		var key strings.Builder
		for _, v := range slices.Sorted(maps.Keys(own)) {
			key.WriteString(strconv.Itoa(int(v)))
			key.WriteString(own[v].key())
		}
		g := byBox[key.String()]
		if g == nil {
			g = &group{own: own, seen: map[string]bool{}}
			byBox[key.String()] = g
			if groups = append(groups, g); len(groups) > maxCells/len(p.box) {
				p.fail(p.tok.at, "got %d boxes of %d inputs, expected at most %d bounds in all", len(groups), len(p.box), maxCells)
			}
		}
		g.take(p, facts, same)
	}
	cases := make([]Case, len(groups))
	for i, g := range groups {
		box := slices.Clone(p.box)
		for v, iv := range g.own {
			box[v] = iv
		}
		cases[i] = Case{box, g.disjuncts}
	}
	return cases
}

// sameFacts returns for each fact the first that is equal.
func (p *parser) sameFacts() []int32 {
	same, first := make([]int32, len(p.facts)), map[string]int32{}
	for i, f := range p.facts {
		same[i] = int32(i)
		if f.v.isInput() {
			continue
		}
		k := f.key()
		if j, ok := first[k]; ok {
			same[i] = j
		} else {
			first[k] = int32(i)
		}
	}
	return same
}

// ownBox returns the intervals of the inputs that facts bound more than p.box does; ok is
// false if one is empty.
func (p *parser) ownBox(facts []int32) (own map[variable]Interval, ok bool) {
	own = map[variable]Interval{}
	for _, i := range facts {
		f := &p.facts[i]
		if !f.v.isInput() {
			continue
		}
		iv, ok := own[f.v]
		if !ok {
			iv = p.box[f.v]
		}
		iv.tighten(f)
		if iv.empty() {
			return nil, false
		}
		own[f.v] = iv
	}
	maps.DeleteFunc(own, func(v variable, iv Interval) bool { return iv.key() == p.box[v].key() })
	return own, true
}

// take adds the constraints on outputs among facts as a disjunct, unless it is there.
func (g *group) take(p *parser, facts, same []int32) {
	var kept []int32
	has := map[int32]bool{}
	for _, i := range facts {
		if s := same[i]; !p.facts[i].v.isInput() && !has[s] {
			has[s] = true
			kept = append(kept, s)
		}
	}
	var key strings.Builder
	for _, i := range slices.Sorted(slices.Values(kept)) {
		key.WriteString(strconv.Itoa(int(i)))
		key.WriteByte(' ')
	}
	switch {
	case g.seen[""] || g.seen[key.String()]:
		return
	case len(kept) == 0: // holds everywhere, whatever the others say
		g.disjuncts = nil
	}
	g.seen[key.String()] = true
	c := make(Conjunction, len(kept))
	for k, i := range kept {
		c[k] = p.facts[i].Constraint
	}
	g.disjuncts = append(g.disjuncts, c)
}
