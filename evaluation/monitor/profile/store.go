// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// FormatVersion is that of Marshal's format. Others are refused.
const FormatVersion = 1

// stored is the JSON around a profile: the profile is gob, as JSON has neither NaN nor
// infinite numbers, and is held together by its hash. Equal profiles make equal bytes.
type stored struct {
	Format  string   `json:"format"`
	Version int      `json:"version"`
	Rows    int64    `json:"rows"`
	Columns []Column `json:"columns"`
	SHA256  string   `json:"sha256"`
	Data    []byte   `json:"data"`
}

const formatName = "millrace-profile"

// Marshal writes a profile as JSON with a checksum.
func (p *Profile) Marshal() ([]byte, error) {
	p.tidy()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(p); err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	sum := sha256.Sum256(b.Bytes())
	return json.Marshal(stored{formatName, FormatVersion, p.Rows, p.Schema, hex.EncodeToString(sum[:]), b.Bytes()})
}

// tidy puts what has several forms in one.
func (p *Profile) tidy() {
	p.Sample.cut()
	for i := range p.Numbers {
		for _, s := range []*Sum{&p.Numbers[i].Sum, &p.Numbers[i].Squares} {
			if len(s.Digits) > 0 {
				s.carry()
				for len(s.Digits) > 1 && s.Digits[0] == 0 {
					s.First, s.Digits = s.First+1, s.Digits[1:]
				}
			}
		}
	}
}

// Unmarshal reads what Marshal wrote. Errors wrap ErrCorrupt.
func Unmarshal(data []byte) (*Profile, error) {
	var s stored
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if s.Format != formatName || s.Version != FormatVersion {
		return nil, fmt.Errorf("%w: format %q of version %d, want %q of version %d", ErrCorrupt, s.Format, s.Version, formatName, FormatVersion)
	}
	if sum := sha256.Sum256(s.Data); hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, fmt.Errorf("%w: the checksum does not match", ErrCorrupt)
	}
	p := &Profile{}
	if err := gob.NewDecoder(bytes.NewReader(s.Data)).Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return p, p.sound()
}

// sound checks what others rely on.
func (p *Profile) sound() error {
	if err := p.Options.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	texts := 0
	for _, c := range p.Schema {
		if c.Text {
			texts++
		}
	}
	if texts != len(p.Texts) || len(p.Schema)-texts != len(p.Numbers) || p.Sample.Max != p.Options.Sample {
		return fmt.Errorf("%w: its columns are not those of its schema", ErrCorrupt)
	}
	for _, r := range p.Sample.Kept {
		if len(r.Numbers) != len(p.Numbers) || len(r.Texts) != texts {
			return fmt.Errorf("%w: a row of its sample is not of its schema", ErrCorrupt)
		}
	}
	return nil
}
