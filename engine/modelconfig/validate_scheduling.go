// SPDX-License-Identifier: Apache-2.0

package modelconfig

// checkSupported refuses what is well formed but not run here. It is refused when
// the model is loaded, not ignored: such a model would answer, and answer wrongly.
func (c *Config) checkSupported() []error {
	var problems []error
	refuse := func(is bool, field, remedy string) {
		if is {
			problems = append(problems, unsupportedf("%s is not supported, it is set for model '%s'; %s", field, c.Name, remedy))
		}
	}
	refuse(c.SequenceBatching != nil, "sequence_batching",
		"remove it and pass the state of a sequence as inputs and outputs of the model")
	refuse(c.EnsembleScheduling != nil || c.Platform == platformEnsemble, "ensemble_scheduling",
		"merge the steps into one ONNX graph, or call the models one after another")
	refuse(len(c.BatchInput) > 0, "batch_input", "remove it and give all rows of a batch one shape")
	refuse(len(c.BatchOutput) > 0, "batch_output", "remove it and give all rows of a batch one shape")
	for _, input := range c.Input {
		refuse(input.AllowRaggedBatch, "allow_ragged_batch", "remove it from input '"+input.Name+"' and pad its rows to one shape")
	}
	refuse(c.cachesResponses(), "response_cache", "remove it or set enable to false")
	return append(problems, c.checkCombinations()...)
}

func (c *Config) cachesResponses() bool { return c.ResponseCache != nil && c.ResponseCache.Enable }

// checkCombinations covers settings that contradict each other whatever is
// supported.
func (c *Config) checkCombinations() []error {
	var problems []error
	if c.cachesResponses() && c.SequenceBatching != nil {
		problems = append(problems, invalidf("Response Cache does not currently support model %s"+
			" with sequence batching scheduler. Please disable the response cache.", c.Name))
	}
	if c.cachesResponses() && c.TransactionPolicy != nil && c.TransactionPolicy.Decoupled {
		problems = append(problems, invalidf("Response Cache does not currently support model %s"+
			" with 'decoupled' transaction policy. Please disable the response cache.", c.Name))
	}
	if c.EnsembleScheduling == nil {
		return problems
	}
	if len(c.InstanceGroup) > 0 {
		problems = append(problems, invalidf("instance group should not be specified for ensemble '%s'", c.Name))
	}
	if c.Optimization != nil {
		problems = append(problems, invalidf("optimization should not be specified for ensemble '%s'", c.Name))
	}
	if len(c.ModelWarmup) > 0 {
		problems = append(problems, invalidf("model_warmup can not be specified for ensemble '%s'", c.Name))
	}
	return problems
}

func (c *Config) checkDynamicBatching() []error {
	batching := c.DynamicBatching
	if batching == nil {
		return nil
	}
	var problems []error
	for _, size := range batching.PreferredBatchSize {
		if size < 1 {
			problems = append(problems, invalidf("dynamic batching preferred size must be positive for %s", c.Name))
		}
		if size > c.MaxBatchSize {
			problems = append(problems, invalidf("dynamic batching preferred size must be <= max batch size for %s", c.Name))
		}
	}
	problems = append(problems, c.checkPriorities(batching)...)
	if batching.PreserveOrdering {
		problems = append(problems, c.checkOrdering(batching)...)
	}
	return problems
}

func (c *Config) checkPriorities(batching *DynamicBatching) []error {
	levels := batching.PriorityLevels
	if levels == 0 {
		return nil
	}
	var problems []error
	if levels > priorityLevelsMax {
		problems = append(problems, invalidf("priority_levels must be <= %d for %s", priorityLevelsMax, c.Name))
	}
	if level := batching.DefaultPriorityLevel; level == 0 || level > levels {
		problems = append(problems, invalidf("default priority level must be in range [1, %d] for %s", levels, c.Name))
	}
	for level := range batching.PriorityQueuePolicy {
		if level == 0 || level > levels {
			problems = append(problems, invalidf("priority queue policy must have priority level in range [1, %d] for %s",
				levels, c.Name))
		}
	}
	return problems
}

// checkOrdering refuses what lets one request overtake another.
func (c *Config) checkOrdering(batching *DynamicBatching) []error {
	var problems []error
	if batching.PriorityLevels > 1 {
		problems = append(problems, invalidf("Only one priority level is allowed when 'preserve_ordering' is true for %s", c.Name))
	}
	delays := batching.DefaultQueuePolicy != nil && batching.DefaultQueuePolicy.delays()
	for _, policy := range batching.PriorityQueuePolicy {
		delays = delays || policy.delays()
	}
	if delays {
		problems = append(problems, invalidf("Queue policy can not have DELAY as timeout action"+
			" when 'preserve_ordering' is true for %s", c.Name))
	}
	return problems
}

// delays reports whether a request can be moved behind later ones.
func (p QueuePolicy) delays() bool {
	return p.DefaultTimeoutMicroseconds != 0 && p.TimeoutAction == Delay
}
