package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aLook is how a reader has the page before them.
type aLook struct {
	width, height int
	dark, script  bool
}

func (l aLook) String() string {
	s := fmt.Sprintf("%d-light", l.width)
	if l.dark {
		s = fmt.Sprintf("%d-dark", l.width)
	}
	if !l.script {
		s += "-noscript"
	}
	return s
}

// looks are all of them: desktop and phone, light and dark, without JavaScript and
// with it.
var looks = func() (list []aLook) {
	for _, size := range [][2]int{{1280, 800}, {360, 740}} {
		for _, dark := range []bool{false, true} {
			for _, script := range []bool{false, true} {
				list = append(list, aLook{size[0], size[1], dark, script})
			}
		}
	}
	return list
}()

// checks is a function from the width of the window to a list of findings.
//
//go:embed checks.js
var checks string

// inspect looks at a page in all looks and returns what is wrong, each finding once.
// Pictures go to a folder, unless that is "".
func (b *browser) inspect(page, out string, looks []aLook) ([]string, error) {
	var order []string
	in := map[string][]string{} // looks of a finding
	for _, l := range looks {
		findings, err := b.inspectOne(page, out, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l, err)
		}
		for _, f := range findings {
			if in[f] == nil {
				order = append(order, f)
			}
			if !slices.Contains(in[f], l.String()) {
				in[f] = append(in[f], l.String())
			}
		}
	}
	for i, f := range order {
		if len(in[f]) < len(looks) {
			order[i] += " (" + strings.Join(in[f], ", ") + ")"
		}
	}
	return order, nil
}

// inspectOne looks at a page once, in a tab of its own.
func (b *browser) inspectOne(page, out string, l aLook) (findings []string, err error) {
	b.timer.Reset(patience)
	var target struct{ TargetID string }
	if err := b.call("", "Target.createTarget", params{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var tab struct{ SessionID string }
	if err := b.call("", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &tab); err != nil {
		return nil, err
	}
	address := (&url.URL{Scheme: "file", Path: filepath.ToSlash(page)}).String()
	loaded := false
	b.event = func(m *message) {
		if m.SessionID != tab.SessionID {
			return
		}
		loaded = loaded || m.Method == "Page.loadEventFired"
		if f := heard(m, address); f != "" {
			findings = append(findings, f)
		}
	}
	defer func() { b.event = func(*message) {} }()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	for _, c := range []struct {
		method string
		params params
	}{
		{"Page.enable", nil},
		{"Runtime.enable", nil},
		{"Log.enable", nil},
		{"Network.enable", nil},
		{"Emulation.setDeviceMetricsOverride", params{"width": l.width, "height": l.height, "deviceScaleFactor": 1, "mobile": l.width < 600}},
		{"Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": scheme}}}},
		{"Emulation.setScriptExecutionDisabled", params{"value": !l.script}},
		{"Page.navigate", params{"url": address}},
	} {
		if err := b.call(tab.SessionID, c.method, c.params, nil); err != nil {
			return nil, err
		}
	}
	for !loaded {
		if _, err := b.next(); err != nil {
			return nil, err
		}
	}
	if out != "" {
		if err := b.shoot(tab.SessionID, page, out, l); err != nil {
			return nil, err
		}
		if b.part != "" && l == looks[0] {
			if err := b.shootPart(tab.SessionID, page, out); err != nil {
				return nil, fmt.Errorf("-part %s: %w", b.part, err)
			}
		}
	}
	var answer struct {
		Result           struct{ Value []string }
		ExceptionDetails json.RawMessage
	}
	if err := b.call(tab.SessionID, "Runtime.evaluate", params{"expression": fmt.Sprintf("(%s)(%d)", checks, l.width), "returnByValue": true, "awaitPromise": true}, &answer); err != nil {
		return nil, err
	}
	if answer.ExceptionDetails != nil {
		return nil, fmt.Errorf("checks: %s", answer.ExceptionDetails)
	}
	findings = append(findings, answer.Result.Value...)
	return findings, b.call("", "Target.closeTarget", params{"targetId": target.TargetID}, nil)
}

type params map[string]any

// heard is what an event says against the page; "": nothing.
func heard(m *message, address string) string {
	var e struct {
		Type    string // of a call of the console
		Args    []struct{ Value, Description any }
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }

		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := json.Unmarshal(m.Params, &e); err != nil {
		return ""
	}
	switch m.Method {
	case "Runtime.consoleAPICalled":
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			text := e.Type
			for _, a := range e.Args {
				if a.Value == nil {
					a.Value = a.Description
				}
				text += fmt.Sprint(" ", a.Value)
			}
			return "console: " + text
		}
	case "Runtime.exceptionThrown":
		return "console: " + strings.TrimSpace(e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			return strings.TrimSpace(fmt.Sprintf("console: %s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case "Network.requestWillBeSent":
		if u := e.Request.URL; u != address && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, address+"#") {
			return "requests " + u
		}
	}
	return ""
}

// tallest is the height of a picture: a longer page has several.
const tallest = 8000

// shoot takes pictures of the whole page.
func (b *browser) shoot(session, page, out string, l aLook) error {
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	if err := b.call(session, "Page.getLayoutMetrics", nil, &size); err != nil {
		return err
	}
	width, height := max(size.CSSContentSize.Width, float64(l.width)), size.CSSContentSize.Height
	for part := 0; part == 0 || float64(part*tallest) < height; part++ {
		y := float64(part * tallest)
		name := stem(page) + l.String()
		if height > tallest {
			name += fmt.Sprintf("-%d", part+1)
		}
		if err := b.capture(session, filepath.Join(out, name+".png"), 0, y, width, max(1, min(tallest, height-y))); err != nil {
			return err
		}
	}
	return nil
}

// stem is how the names of a page's pictures begin.
func stem(page string) string {
	return strings.TrimSuffix(filepath.Base(page), filepath.Ext(page)) + "-"
}

// shootPart takes a picture of one element.
func (b *browser) shootPart(session, page, out string) error {
	var answer struct {
		Result struct {
			Value *struct{ X, Y, Width, Height float64 }
		}
	}
	find := fmt.Sprintf("document.getElementById(%q)?.getBoundingClientRect().toJSON()", b.part)
	if err := b.call(session, "Runtime.evaluate", params{"expression": find, "returnByValue": true}, &answer); err != nil {
		return err
	}
	r := answer.Result.Value
	if r == nil || r.Width < 1 || r.Height < 1 {
		return errors.New("the page shows no element with this id")
	}
	return b.capture(session, filepath.Join(out, stem(page)+b.part+".png"), r.X, r.Y, r.Width, r.Height)
}

// capture takes a picture of a part of the page.
func (b *browser) capture(session, path string, x, y, width, height float64) error {
	var shot struct{ Data []byte }
	clip := params{"x": x, "y": y, "width": width, "height": height, "scale": 1}
	if err := b.call(session, "Page.captureScreenshot", params{"format": "png", "captureBeyondViewport": true, "clip": clip}, &shot); err != nil {
		return err
	}
	return os.WriteFile(path, shot.Data, 0o666)
}
