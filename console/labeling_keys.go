// SPDX-License-Identifier: Apache-2.0

package console

import (
	"strings"

	"github.com/millrace-ml/millrace/labeling"
)

// commandKeys are what a labelling page can do besides labels, with the keys that each
// would like, the best first.
var commandKeys = []struct{ command, keys string }{
	{"undo", "uz"}, {"skip", "sx"}, {"postpone", "pl"}, {"take", "tg"}, {"help", "?h"},
}

// freeKeys are given to labels that have none of their own, in this order.
const freeKeys = "123456789abcdefghijklmnopqrstuvwxyz0"

// assignKeys gives every label and command a key of its own: labels keep those of the set,
// commands come next, and what labels are left take what is free. Empty is none: such a
// label is chosen by its button alone.
func assignKeys(set *labeling.LabelSet) (labels []string, commands map[string]string) {
	labels, commands = make([]string, len(set.Labels)), map[string]string{}
	taken := map[string]bool{}
	for i := range set.Labels {
		labels[i] = set.Labels[i].Key
		taken[labels[i]] = true
	}
	taken[""] = false
	take := func(wanted string) string {
		for _, key := range strings.Split(wanted, "") {
			if !taken[key] {
				taken[key] = true
				return key
			}
		}
		return ""
	}
	for _, c := range commandKeys {
		commands[c.command] = take(c.keys)
	}
	for i := range labels {
		if labels[i] == "" {
			labels[i] = take(freeKeys)
		}
	}
	return labels, commands
}
