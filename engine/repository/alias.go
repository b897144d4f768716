// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"maps"
	"regexp"
	"strconv"
)

// aliasesMax bounds the aliases of one model.
const aliasesMax = 64

// aliasPattern keeps aliases apart from version numbers.
var aliasPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// SetAlias makes an alias name a ready version, in place of the one it named before.
// Requests may then give the alias as their version. A version with an alias is kept
// loaded when the model is loaded again. Version 0 removes the alias.
func (r *Repository) SetAlias(ctx context.Context, name, alias string, version int64) error {
	if !aliasPattern.MatchString(alias) {
		return classified(ErrInvalidName, "invalid alias '%s': it must begin with a letter or _ and have at most 64 letters, digits, '_', '.' and '-'", alias)
	}
	return r.operateVersions(ctx, name, func(_ context.Context, m *model) error {
		if version != 0 && !r.isReady(m, version) {
			return r.explainMiss(name, strconv.FormatInt(version, 10))
		}
		return r.assignAlias(m, alias, version)
	})
}

func (r *Repository) assignAlias(m *model, alias string, version int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return ErrClosed
	}
	if version == 0 {
		delete(m.aliases, alias)
	} else {
		if _, exists := m.aliases[alias]; !exists && len(m.aliases) == aliasesMax {
			return classified(ErrInvalidName, "model '%s' has %d aliases, the most there can be; remove one first", m.name, aliasesMax)
		}
		m.aliases[alias] = version
	}
	r.publishLocked(m)
	return nil
}

// Aliases are the aliases of a model and the versions they name.
func (r *Repository) Aliases(name string) (map[string]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.mu.models[name]
	if m == nil {
		return nil, classified(ErrUnknownModel, "Request for unknown model: '%s' is not found", name)
	}
	return maps.Clone(m.aliases), nil
}
