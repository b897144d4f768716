// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// FuzzParseText wants an error or a configuration that survives the way through
// JSON unchanged.
func FuzzParseText(f *testing.F) {
	for _, data := range goldenTexts(f) {
		f.Add(data)
	}
	for _, texts := range [][]string{textBothAccept, textBothRefuse} {
		for _, text := range texts {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := modelconfig.ParseText(data)
		if err != nil {
			if !errors.Is(err, modelconfig.ErrInvalidConfig) {
				t.Errorf("error %v is not ErrInvalidConfig", err)
			}
			return
		}
		text := mustJSON(t, config)
		again, err := modelconfig.ParseJSON(text)
		if err != nil {
			t.Fatalf("our own JSON is refused: %v\n%s", err, text)
		}
		if !bytes.Equal(mustJSON(t, again), text) {
			t.Errorf("JSON changes on the way: %s, then %s", text, mustJSON(t, again))
		}
		// NaN, which equals nothing, has been compared as text.
		if !bytes.Contains(text, []byte(`"NaN"`)) && !reflect.DeepEqual(again, config) {
			t.Errorf("%s reads back as %+v, want %+v", text, again, config)
		}
	})
}
