// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// FuzzDocuments writes whatever ReadJSON takes in every form: none panics, pages and JUnit
// are XML, and JSON reads back.
func FuzzDocuments(f *testing.F) {
	card := cardReport()
	card.Slices, card.Plots = card.Slices[:1], Plots{} // small inputs are tried faster
	for _, r := range []*Report{card, hostileReport(), classReport(2), {}} {
		var b bytes.Buffer
		if err := WriteJSON(&b, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"version":1,"verdict":"pass","plots":{"scores":[{"edges":[1,1],"counts":[-5]}],"roc":[{"x":[-1e308],"y":[1e308],"counts":[-9]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		for form := range writers {
			text := written(t, form, r)
			switch form {
			case "html", "xml":
				dec := xml.NewDecoder(strings.NewReader(text))
				for err == nil {
					_, err = dec.Token()
				}
				if !errors.Is(err, io.EOF) {
					t.Fatalf("%s is no XML: %v", form, err)
				}
				err = nil
			case "json":
				if _, err := ReadJSON(strings.NewReader(text)); err != nil {
					t.Fatalf("what was written does not read: %v", err)
				}
			}
		}
	})
}
