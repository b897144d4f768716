// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"fmt"
)

// A snapshot is, with numbers of 8 bytes, the low one first:
//
//	 0  magic "MRMON003"
//	 8  length of what follows the hash
//	16  SHA-256 of what follows it
//	48  gob: the hash of configuration and reference, the state
const (
	snapshotMagic = "MRMON003"
	snapshotHead  = 48
	// SnapshotBytesMax bounds a snapshot that is read.
	SnapshotBytesMax = 8 << 30
)

type stored struct {
	Setup [32]byte
	State state
}

// setup is the hash of what a state is only good with.
func (m *Monitor) setup() ([32]byte, error) {
	c, err := json.Marshal(m.config)
	if err != nil {
		return [32]byte{}, err
	}
	p, err := m.reference.profile.Marshal()
	if err != nil {
		return [32]byte{}, err
	}
	h := sha256.New()
	for _, part := range [][]byte{c, p, fmt.Append(nil, m.reference.rows, m.reference.values)} {
		_ = binary.Write(h, binary.LittleEndian, uint64(len(part))) // a hash takes all
		h.Write(part)
	}
	return [32]byte(h.Sum(nil)), nil
}

// Snapshot is the state of the monitor. A monitor that Restore makes of it goes on as this
// one does. The caller stores it, durably, together with how far events were read.
func (m *Monitor) Snapshot() ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, snapshotHead))
	if err := gob.NewEncoder(b).Encode(stored{m.hash, m.state}); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	data := b.Bytes()
	copy(data, snapshotMagic)
	binary.LittleEndian.PutUint64(data[8:], uint64(len(data)-snapshotHead))
	sum := sha256.Sum256(data[snapshotHead:])
	copy(data[16:], sum[:])
	return data, nil
}

// Restore makes a monitor of a snapshot, with the configuration and the reference that it
// was taken with. Errors wrap ErrSnapshot, or are those of New.
func Restore(c Config, r Reference, data []byte) (*Monitor, error) {
	m, err := New(c, r)
	if err != nil {
		return nil, err
	}
	if len(data) < snapshotHead || len(data) > SnapshotBytesMax || string(data[:8]) != snapshotMagic {
		return nil, fmt.Errorf("%w: it is not one, or of another version", ErrSnapshot)
	}
	body := data[snapshotHead:]
	if n := binary.LittleEndian.Uint64(data[8:]); n != uint64(len(body)) {
		return nil, fmt.Errorf("%w: it has %d bytes and should have %d", ErrSnapshot, len(body), n)
	}
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[16:snapshotHead]) {
		return nil, fmt.Errorf("%w: its checksum does not match", ErrSnapshot)
	}
	var s stored
	if err := gob.NewDecoder(bytes.NewReader(body)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if m.hash != s.Setup {
		return nil, fmt.Errorf("%w: it was taken with another configuration or reference", ErrSnapshot)
	}
	m.state = s.State
	m.complete()
	m.index()
	return m, nil
}

// complete makes what gob leaves out where it is empty.
func (m *Monitor) complete() {
	if m.state.Early == nil {
		m.state.Early = map[uint64]early{}
	}
	for len(m.state.Windows) < len(m.config.Windows) {
		m.state.Windows = append(m.state.Windows, nil)
	}
	for len(m.state.Trails) < len(m.config.Windows) {
		m.state.Trails = append(m.state.Trails, nil)
	}
	for len(m.state.Checks) < len(m.config.Windows) {
		m.state.Checks = append(m.state.Checks, checked{})
	}
	for len(m.state.Names) < len(m.config.Slices) {
		m.state.Names = append(m.state.Names, nil)
	}
	for _, list := range m.state.Windows {
		for _, w := range list {
			if !w.Closed && w.Decisions == nil {
				w.Decisions = map[string]int64{}
			}
		}
	}
}
