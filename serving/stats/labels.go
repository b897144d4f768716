// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// constLabels are the labels of all metrics of a version. Model names and tags come
// from files that users write, but a label that Prometheus refuses would cost the
// whole scrape. So tags are bent to fit: characters that label names cannot have
// become '_', and names with a meaning of their own get the prefix "tag_". Of tags
// that are then the same, the first in order of original name stays.
func constLabels(id ID) prometheus.Labels {
	labels := prometheus.Labels{
		"model":   strings.ToValidUTF8(id.Model, "\uFFFD"),
		"version": strconv.FormatInt(id.Version, 10),
	}
	for _, tag := range slices.Sorted(maps.Keys(id.Tags)) {
		name := labelName(tag)
		if _, taken := labels[name]; !taken {
			labels[name] = strings.ToValidUTF8(id.Tags[tag], "\uFFFD")
		}
	}
	return labels
}

func labelName(tag string) string {
	name := strings.Map(func(c rune) rune {
		if c == '_' || isASCIILetter(c) || '0' <= c && c <= '9' {
			return c
		}
		return '_'
	}, tag)
	if reservedLabel(name) {
		return "tag_" + name
	}
	return name
}

// reservedLabel reports whether a name is one of ours, one of Prometheus's, or
// begins as no label name does.
func reservedLabel(name string) bool {
	switch name {
	case "", "model", "version", "reason", "cause", "le", "quantile":
		return true
	}
	return strings.HasPrefix(name, "__") || '0' <= name[0] && name[0] <= '9'
}

func isASCIILetter(c rune) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
