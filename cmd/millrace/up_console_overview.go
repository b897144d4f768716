// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/millrace-ml/millrace/console"
)

// showOverview gives the console what its first page shows of the whole loop: the story of a
// simulation, if one is told.
func (u *up) showOverview(o *console.Options) {
	if u.story != nil {
		o.Story = u.story
	}
}
