// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/console"

// showFeatures gives the console the features of the project, and says which decisions read
// them.
func (u *up) showFeatures(o *console.Options, parts *upParts) {
	if len(u.catalog.Services) == 0 {
		return
	}
	o.Features, o.DecisionsOf = u.store, map[string][]string{}
	for _, p := range u.policies {
		if p.Service != nil {
			o.DecisionsOf[p.Service.Name] = append(o.DecisionsOf[p.Service.Name], p.Name)
		}
	}
}
