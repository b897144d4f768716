// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"maps"
	"math"
	"slices"
)

// Limits of what one model may ask of this server.
const (
	instancesMax      = 1024
	priorityLevelsMax = 1024
)

// Validate says everything that is wrong with a completed configuration, in itself
// and against its model. The texts of single problems are those of the protocol.
// Errors wrap ErrInvalidConfig, ErrUnsupported or both.
func Validate(c *Config, io ModelIO) error {
	return joinProblems(slices.Concat(
		c.checkIdentity(),
		c.checkVersionPolicy(),
		c.checkSupported(),
		c.checkDynamicBatching(),
		c.checkTensors(),
		c.checkBatchTensors(),
		c.checkInstances(),
		c.checkOptimization(),
		c.checkWarmups(),
		c.checkParameters(),
		c.checkMetrics(),
		c.checkModel(io),
	))
}

// checkIdentity covers the names by which the model and its files are found.
func (c *Config) checkIdentity() []error {
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	add(CheckModelName(c.Name))
	if c.Backend == "" && c.Platform != platformEnsemble && c.EnsembleScheduling == nil {
		add(invalidf("must specify 'platform' or 'backend' for '%s'", c.Name))
	}
	if c.MaxBatchSize < 0 {
		add(invalidf("'max_batch_size' must be non-negative value for %s", c.Name))
	}
	add(checkPath("default_model_filename", c.DefaultModelFilename))
	for _, capability := range sortedKeys(c.CCModelFilenames) {
		add(checkPath("cc_model_filenames", c.CCModelFilenames[capability]))
	}
	for _, output := range c.Output {
		add(checkPath("label_filename of output "+output.Name, output.LabelFilename))
	}
	return problems
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func (c *Config) checkVersionPolicy() []error {
	policy := c.VersionPolicy
	switch {
	case policy == nil:
		return []error{invalidf("must specify 'version policy' for %s", c.Name)}
	case policy.Latest != nil && policy.Latest.NumVersions == 0:
		return []error{invalidf("version_policy latest must have num_versions of at least 1 for %s", c.Name)}
	case policy.Specific != nil:
		return c.checkVersions(policy.Specific.Versions)
	}
	return nil
}

func (c *Config) checkVersions(versions []int64) []error {
	if len(versions) == 0 {
		return []error{invalidf("version_policy specific must list at least one version for %s", c.Name)}
	}
	var problems []error
	seen := map[int64]bool{}
	for _, version := range versions {
		if version < 1 {
			problems = append(problems, invalidf("version_policy lists version %d, versions are at least 1, for %s", version, c.Name))
		}
		if seen[version] {
			problems = append(problems, invalidf("version_policy lists version %d more than once for %s", version, c.Name))
		}
		seen[version] = true
	}
	return problems
}

func (c *Config) checkInstances() []error {
	var problems []error
	names := map[string]bool{}
	instances := 0
	for _, group := range c.InstanceGroup {
		subject := "instance group " + group.Name + " of model " + c.Name
		if group.Count < 0 {
			problems = append(problems, invalidf("%s has count %d, it must be at least 1, or 0 for the default", subject, group.Count))
		}
		if group.Kind != KindGPU && len(group.GPUs) > 0 {
			problems = append(problems, invalidf("%s has kind %s but specifies one or more GPUs", subject, group.Kind))
		}
		if names[group.Name] {
			problems = append(problems, invalidf("%s is specified more than once", subject))
		}
		names[group.Name] = true
		instances += int(group.Count) * max(1, len(group.GPUs))
	}
	if instances > instancesMax {
		problems = append(problems, invalidf("model %s asks for %d instances in its instance groups, it may have at most %d",
			c.Name, instances, instancesMax))
	}
	return problems
}

func (c *Config) checkMetrics() []error {
	if c.ModelMetrics == nil {
		return nil
	}
	var problems []error
	for _, control := range c.ModelMetrics.MetricControl {
		switch {
		case control.MetricIdentifier == nil:
			problems = append(problems, invalidf("metric control must specify 'metric_identifier'"))
		case control.MetricIdentifier.Family == "":
			problems = append(problems, invalidf("metric identifier must specify non-empty 'family'"))
		case control.HistogramOptions == nil:
			problems = append(problems, invalidf("metric control must specify 'histogram_options'"))
		case len(control.HistogramOptions.Buckets) == 0:
			problems = append(problems, invalidf("histogram options must specify non-empty 'buckets'"))
		case !increasing(control.HistogramOptions.Buckets):
			problems = append(problems, invalidf("histogram options for %s must have 'buckets' in increasing order",
				control.MetricIdentifier.Family))
		}
	}
	return problems
}

// increasing is false for NaN too, which is in no order.
func increasing(bounds []float64) bool {
	for i, bound := range bounds {
		if math.IsNaN(bound) || i > 0 && bound <= bounds[i-1] {
			return false
		}
	}
	return true
}
