// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"testing/fstest"
)

func TestHeadroomFollowsTheMemory(t *testing.T) {
	for _, c := range []struct {
		meminfo string
		want    int
	}{
		{"MemTotal: 25165824 kB\n", headroomMBMax},
		{"MemTotal: 2097152 kB\n", 128},
		{"MemTotal: 65536 kB\n", headroomMBMin},
		{"", headroomMBMin},
	} {
		system := fstest.MapFS{"proc/meminfo": {Data: []byte(c.meminfo)}}
		if got := defaultHeadroomMB(system); got != c.want {
			t.Errorf("%q: %d MiB, want %d", c.meminfo, got, c.want)
		}
	}
}
