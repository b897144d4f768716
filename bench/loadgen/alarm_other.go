// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package loadgen

import "context"

func newAlarm(ctx context.Context) alarm { return newRuntimeAlarm(ctx) }
