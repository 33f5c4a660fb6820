//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is an instance that the referee has started. It cannot outlive the referee.
type process struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	ended  chan struct{}
	errors bytes.Buffer
}

// startInstance starts an instance, whose notes are added to t.
func startInstance(s settings, t *tally) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, _ := json.Marshal(s) // cannot fail
	p := &process{cmd: exec.Command(self, instanceCommand, string(b)), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.errors
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var n note
			if json.Unmarshal(lines.Bytes(), &n) == nil { // otherwise a kill has cut the line off
				t.add(n)
			}
		}
		err := p.cmd.Wait()
		if p.errors.Len() > 0 {
			t.add(note{What: noteBroken, Why: fmt.Sprintf("an instance ended: %v: %s", err, lastLines(p.errors.String()))})
		}
		close(p.ended)
	}()
	return p, nil
}

func lastLines(text string) string { return strings.TrimSpace(text[max(len(text)-1500, 0):]) }

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // fails if the process has ended

// tell sends an order to the process, which handles it in obey.
func (p *process) tell(order string) { _, _ = io.WriteString(p.orders, order+"\n") } // fails if the process has ended

// wait waits for the process for at most timeout and reports whether it has ended.
func (p *process) wait(timeout time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(timeout):
		return false
	}
}

// stopped waits for at most timeout and reports whether the process was stopped by a signal.
func (p *process) stopped(timeout time.Duration) bool {
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return false
		}
		if after := string(b[bytes.LastIndexByte(b, ')')+1:]); strings.HasPrefix(after, " T") {
			return true
		}
	}
	return false
}

// quit asks the process to leave the group and end. It kills the process if it does not end within 20 s.
func (p *process) quit(t *tally) {
	p.signal(syscall.SIGTERM)
	if !p.wait(20 * time.Second) {
		t.add(note{What: "did: kill", Why: "did not leave in 20 s"})
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// cpuOf returns the processor time that a process has used.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system) // these fields are numbers, see proc(5)
	return time.Duration(user+system) * time.Second / 100
}
