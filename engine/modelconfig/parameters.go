// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// IntParameter is the whole number in the parameters map under name, or missing
// where there is none.
func (c *Config) IntParameter(name string, missing int) (int, error) {
	return parseParameter(c, name, missing, "a whole number", strconv.Atoi)
}

// FloatParameter is the finite number in the parameters map under name, or missing
// where there is none.
func (c *Config) FloatParameter(name string, missing float64) (float64, error) {
	return parseParameter(c, name, missing, "a finite number", parseFinite)
}

// BoolParameter is the truth value in the parameters map under name, or missing
// where there is none. It is written true, false, 1 or 0, in any case.
func (c *Config) BoolParameter(name string, missing bool) (bool, error) {
	return parseParameter(c, name, missing, "true, false, 1 or 0", parseTruth)
}

// DurationMillisParameter is the time in the parameters map under name, written in
// milliseconds and possibly with a fraction, or missing where there is none.
func (c *Config) DurationMillisParameter(name string, missing time.Duration) (time.Duration, error) {
	return parseParameter(c, name, missing, "milliseconds between 0 and one day", parseMillis)
}

// parseParameter reads one parameter; want says in its error what was expected.
func parseParameter[T any](c *Config, name string, missing T, want string, parse func(string) (T, error)) (T, error) {
	p, ok := c.Parameters[name]
	if !ok {
		return missing, nil
	}
	value, err := parse(strings.TrimSpace(p.StringValue))
	if err != nil {
		var none T
		return none, invalidf("parameter '%s' of model '%s' is %q, it must be %s", name, c.Name, p.StringValue, want)
	}
	return value, nil
}

func parseFinite(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(value) || math.IsInf(value, 0)) {
		err = strconv.ErrRange
	}
	return value, err
}

func parseTruth(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

func parseMillis(text string) (time.Duration, error) {
	const dayMillis = 24 * 60 * 60 * 1000
	millis, err := parseFinite(text)
	if err == nil && (millis < 0 || millis > dayMillis) {
		err = strconv.ErrRange
	}
	return time.Duration(millis * float64(time.Millisecond)), err
}

// checkParameters reads the parameters this server knows, so that a mistake in one
// is found when the configuration is, not at its first use.
func (c *Config) checkParameters() []error {
	var problems []error
	report := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range []string{"intra_op_thread_count", "inter_op_thread_count", "gpu_mem_limit"} {
		report(c.checkAtLeast(name, 0))
	}
	for _, name := range []string{"enable_mem_arena", "enable_mem_pattern", "do_copy_in_default_stream"} {
		_, err := c.BoolParameter(name, false)
		report(err)
	}
	report(c.checkExecutionMode())
	report(c.checkLatencyObjective())
	_, err := c.DurationMillisParameter("execute_delay_ms", 0)
	report(err)
	return problems
}

func (c *Config) checkAtLeast(name string, least int) error {
	value, err := c.IntParameter(name, least)
	if err == nil && value < least {
		err = invalidf("parameter '%s' of model '%s' is %d, it must be at least %d", name, c.Name, value, least)
	}
	return err
}

func (c *Config) checkExecutionMode() error {
	mode, err := c.IntParameter("execution_mode", 0)
	if err == nil && mode != 0 && mode != 1 {
		err = invalidf("parameter 'execution_mode' of model '%s' is %d, it must be 0 (sequential) or 1 (parallel)", c.Name, mode)
	}
	return err
}

func (c *Config) checkLatencyObjective() error {
	objective, err := c.FloatParameter("latency_objective_ms", 1)
	if err == nil && objective <= 0 {
		err = invalidf("parameter 'latency_objective_ms' of model '%s' is %v, it must be greater than 0", c.Name, objective)
	}
	return err
}
