package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// browser is a Chromium that is told what to do over a pair of pipes: messages of
// its DevTools protocol, each JSON and then a zero byte.
type browser struct {
	cmd     *exec.Cmd
	timer   *time.Timer // kills it
	folder  string      // of its profile
	part    string      // the id of an element to take a picture of, or ""
	in, out *os.File
	answers *bufio.Reader
	id      int
	event   func(m *message) // sees what comes unasked
}

// message is a command, an answer or an event.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// patience is for one look: a page that never ends loading is an error.
const patience = time.Minute

// start starts a browser that reaches no network.
func start(path string) (*browser, error) {
	folder, err := os.MkdirTemp("", "pageshot")
	if err != nil {
		return nil, err
	}
	b := &browser{folder: folder, event: func(*message) {}}
	fail := func(err error) (*browser, error) {
		b.close()
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	commands, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		commands.Close()
		in.Close()
		return fail(err)
	}
	b.in, b.out, b.answers = in, out, bufio.NewReader(out)
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + folder, "--no-first-run", "--no-default-browser-check",
		"--disable-gpu", "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--hide-scrollbars", "--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // the sandbox refuses root
	}
	cmd := exec.Command(path, args...)
	cmd.ExtraFiles = []*os.File{commands, answers} // descriptors 3 and 4
	err = cmd.Start()
	commands.Close()
	answers.Close()
	if err != nil {
		return fail(err)
	}
	b.cmd, b.timer = cmd, time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	if err := b.call("", "Browser.getVersion", nil, nil); err != nil {
		return fail(err)
	}
	return b, nil
}

// close ends the browser and removes its profile.
func (b *browser) close() {
	if b.cmd != nil {
		b.timer.Reset(5 * time.Second)
		_ = b.call("", "Browser.close", nil, nil) // it may be gone
		_ = b.cmd.Wait()
		b.timer.Stop()
	}
	if b.in != nil {
		b.in.Close()
		b.out.Close()
	}
	_ = os.RemoveAll(b.folder) // in the folder for temporary files
}

// call sends a command and reads its answer into result, unless that is nil.
func (b *browser) call(session, method string, params, result any) error {
	b.id++
	m := message{ID: b.id, SessionID: session, Method: method}
	var err error
	if params != nil {
		if m.Params, err = json.Marshal(params); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(raw, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	for {
		answer, err := b.next()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", method, err)
		case answer.ID != m.ID:
			continue
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Result, result)
	}
}

// next reads a message; event sees it if it is one.
func (b *browser) next() (*message, error) {
	raw, err := b.answers.ReadBytes(0)
	if err != nil {
		return nil, fmt.Errorf("the browser has ended, or was stopped after %s: %w", patience, err)
	}
	m := &message{}
	if err := json.Unmarshal(raw[:len(raw)-1], m); err != nil {
		return nil, err
	}
	if m.Method != "" {
		b.event(m)
	}
	return m, nil
}
