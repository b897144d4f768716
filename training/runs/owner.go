// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// owner says which process writes a run: a machine, a process and when that began, since
// process ids come again. Machine is empty where the system does not tell; heartbeats alone
// count then.
type owner struct {
	machine string
	pid     int
	began   string
}

func (o owner) String() string { return fmt.Sprintf("%s|%d|%s", o.machine, o.pid, o.began) }

func parseOwner(text string) (o owner, ok bool) {
	machine, rest, _ := strings.Cut(text, "|")
	pid, began, ok := strings.Cut(rest, "|")
	if !ok || machine == "" || began == "" {
		return owner{}, false
	}
	n, err := strconv.Atoi(pid)
	return owner{machine, n, began}, err == nil
}

// self is this process.
var self = sync.OnceValue(func() owner {
	return owner{thisMachine(), os.Getpid(), processBegan(os.Getpid())}
})

// thisMachine tells machines, their boots and containers apart: a process id means
// something only where all three are the same.
func thisMachine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(host+"/"+string(bytes.TrimSpace(boot))+"/"+space, "|", "_")
}

// processBegan is the start time of a process in ticks since boot, or empty.
func processBegan(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name, in brackets, may hold anything; the time is the 20th field after it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// gone reports whether the process has ended for sure; known is false where it cannot be
// told from here.
func (o owner) gone() (gone, known bool) {
	if here := self(); here.machine == "" || here.machine != o.machine {
		return false, false
	}
	return processBegan(o.pid) != o.began, true
}
