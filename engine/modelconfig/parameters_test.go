// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

func withParameter(value string) *modelconfig.Config {
	return &modelconfig.Config{Name: "m", Parameters: map[string]modelconfig.Parameter{"p": {StringValue: value}}}
}

// checkParameter reads p as each text and as missing.
func checkParameter[T comparable](t *testing.T, get func(*modelconfig.Config, string, T) (T, error), missing T, good map[string]T, bad ...string) {
	t.Helper()
	if got, err := get(&modelconfig.Config{}, "p", missing); err != nil || got != missing {
		t.Errorf("missing parameter gives %v, %v, want %v", got, err, missing)
	}
	for text, want := range good {
		if got, err := get(withParameter(text), "p", missing); err != nil || got != want {
			t.Errorf("%q gives %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range bad {
		if got, err := get(withParameter(text), "p", missing); !errors.Is(err, modelconfig.ErrInvalidConfig) {
			t.Errorf("%q gives %v, %v, want ErrInvalidConfig", text, got, err)
		}
	}
}

func TestParameters(t *testing.T) {
	checkParameter(t, (*modelconfig.Config).IntParameter, 7,
		map[string]int{"0": 0, " 12 ": 12, "-3": -3}, "", "x", "1.5", "99999999999999999999")
	checkParameter(t, (*modelconfig.Config).FloatParameter, 2.5,
		map[string]float64{"0": 0, "1.25": 1.25, "-1e-3": -0.001}, "", "x", "nan", "inf", "1e999")
	checkParameter(t, (*modelconfig.Config).BoolParameter, true,
		map[string]bool{"true": true, "TRUE": true, "1": true, "false": false, "False": false, "0": false}, "", "yes", "2")
	checkParameter(t, (*modelconfig.Config).DurationMillisParameter, time.Second,
		map[string]time.Duration{"0": 0, "5": 5 * time.Millisecond, "0.25": 250 * time.Microsecond}, "", "5ms", "-1", "nan", "1e12")
}
