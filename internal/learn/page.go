// Package learn reads docs/learn.md, whose commands, outputs, numbers and figures must
// agree with each other. Package run beside it runs the commands.
package learn

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Step is a block of commands and what they print on standard output.
type Step struct {
	Line     int // of the page, where the commands begin, from 1
	Commands string
	Output   string

	// Lines first to last−1 of the page, from 0, are the output; −1 if the page
	// shows none.
	first, last int
}

// Page is docs/learn.md.
type Page struct {
	Steps   []Step
	Figures []Figure
	lines   []string
	prose   []prose
}

// Figure is a picture that the page shows.
type Figure struct{ Alt, Path string }

type prose struct {
	line int
	text string
}

var figure = regexp.MustCompile(`!\[([^]]*)\]\(([^)]*)\)`)

// Parse reads a page. Blocks marked sh are commands to run; a block marked text after one is
// its output.
func Parse(text string) (*Page, error) {
	p := &Page{lines: strings.Split(text, "\n")}
	afterCommands := false
	for i := 0; i < len(p.lines); i++ {
		line := p.lines[i]
		mark, fenced := strings.CutPrefix(line, "```")
		switch {
		case !fenced && strings.TrimSpace(line) == "":
			continue
		case !fenced:
			afterCommands = false
			p.prose = append(p.prose, prose{i + 1, line})
			for _, m := range figure.FindAllStringSubmatch(line, -1) {
				p.Figures = append(p.Figures, Figure{m[1], m[2]})
			}
			continue
		}
		end := i + 1
		for end < len(p.lines) && p.lines[end] != "```" {
			end++
		}
		if end == len(p.lines) {
			return nil, fmt.Errorf("line %d: a block that does not end", i+1)
		}
		body := strings.Join(p.lines[i+1:end], "\n")
		switch {
		case mark == "sh":
			p.Steps = append(p.Steps, Step{Line: i + 2, Commands: body, first: -1})
		case mark == "text" && afterCommands:
			s := &p.Steps[len(p.Steps)-1]
			s.Output, s.first, s.last = body, i+1, end
		case mark == "text":
			return nil, fmt.Errorf("line %d: an output without commands before it", i+1)
		}
		afterCommands = mark == "sh"
		i = end
	}
	return p, nil
}

// WithOutputs returns the page with other outputs, one a step. Steps that show none stay so.
func (p *Page) WithOutputs(outputs []string) string {
	lines := append([]string{}, p.lines...)
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := &p.Steps[i]
		if s.first < 0 {
			continue
		}
		var body []string
		if outputs[i] != "" {
			body = strings.Split(outputs[i], "\n")
		}
		lines = append(lines[:s.first], append(body, lines[s.last:]...)...)
	}
	return strings.Join(lines, "\n")
}

// number is a percentage or a decimal. Whole numbers count things that no output has.
var number = regexp.MustCompile(`\d+\.\d+%?|\d+%`)

// Strays returns the numbers of the prose that stand in no command and no output.
func (p *Page) Strays() []string {
	known := map[string]bool{}
	for _, s := range p.Steps {
		for _, n := range number.FindAllString(s.Commands+"\n"+s.Output, -1) {
			known[n] = true
		}
	}
	var strays []string
	for _, t := range p.prose {
		for _, n := range number.FindAllString(figure.ReplaceAllString(t.text, "$1"), -1) {
			if !known[n] {
				strays = append(strays, fmt.Sprintf("line %d: %s", t.line, n))
			}
		}
	}
	return strays
}

// Epsball returns the command lines of epsball, split into words as a shell does; those
// of a loop, for each of its values.
func (p *Page) Epsball() [][]string {
	var all [][]string
	for _, s := range p.Steps {
		variable, values := "", []string{""}
		for _, line := range strings.Split(strings.ReplaceAll(s.Commands, "\\\n", " "), "\n") {
			for _, words := range commands(line) {
				switch {
				case words[0] == "for" && len(words) > 3:
					variable, values = "$"+words[1], words[3:]
				case words[0] == "done":
					variable, values = "", []string{""}
				case words[0] == "do":
					words = words[1:]
				}
				if len(words) == 0 || words[0] != "epsball" {
					continue
				}
				for _, v := range values {
					line := slices.Clone(words[1:])
					for i := range line {
						if line[i] == variable {
							line[i] = v
						}
					}
					all = append(all, line)
				}
			}
		}
	}
	return all
}

// commands splits a line into commands at |, ||, && and ;, and these into words. It
// knows quotes, comments and redirections to files, which is what the page needs.
func commands(line string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	open, quote := false, rune(0)
	end := func() {
		if open {
			words = append(words, word.String())
		}
		word.Reset()
		open = false
	}
	flush := func() {
		end()
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, open = c, true
		case c == '#' && !open, c == '>':
			flush()
			return all
		case c == '|' || c == '&' || c == ';':
			flush()
		case c == ' ' || c == '\t':
			end()
		default:
			open = true
			word.WriteRune(c)
		}
	}
	flush()
	return all
}
