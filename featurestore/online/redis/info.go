// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/online"
)

// checkEviction refuses a Redis that throws entities out when its memory is full: they
// would be gone without anybody knowing, and values wrong.
func (s *Store) checkEviction(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.WriteDeadline)
	defer cancel()
	for address, node := range (*s.conn.client.Load()).Nodes() {
		text, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		if err != nil {
			s.options.Logger.Debug("redis does not tell its eviction policy", "address", address, "error", err)
			continue
		}
		memory := infoField(text, "maxmemory")
		policy := infoField(text, "maxmemory_policy")
		if memory != "" && memory != "0" && policy != "" && policy != "noeviction" {
			return fmt.Errorf("%w of the Redis store: redis at %s may evict entities (maxmemory-policy %s); set it to noeviction", online.ErrInvalidOptions, address, policy)
		}
	}
	return nil
}

// infoField returns a field of what INFO tells.
func infoField(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
