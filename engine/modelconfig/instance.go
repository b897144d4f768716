// SPDX-License-Identifier: Apache-2.0

package modelconfig

// InstanceKind is the kind of device of an instance group.
type InstanceKind int32

// Kinds of device. KindAuto takes a GPU where backend and machine have one, else
// the CPU.
const (
	KindAuto InstanceKind = iota
	KindGPU
	KindCPU
	KindModel
)

// InstanceGroup asks for copies of the model on devices of one kind.
type InstanceGroup struct {
	Name             string            `pb:"name"`
	Kind             InstanceKind      `pb:"kind"`
	Count            int32             `pb:"count"`
	RateLimiter      *RateLimiter      `pb:"rate_limiter"`
	GPUs             []int32           `pb:"gpus"`
	SecondaryDevices []SecondaryDevice `pb:"secondary_devices"`
	Profile          []string          `pb:"profile"`
	Passive          bool              `pb:"passive"`
	HostPolicy       string            `pb:"host_policy"`
}

// RateLimiter is accepted and has no effect.
type RateLimiter struct {
	Resources []RateResource `pb:"resources"`
	Priority  uint32         `pb:"priority"`
}

// RateResource is a resource an instance holds while it runs.
type RateResource struct {
	Name   string `pb:"name"`
	Global bool   `pb:"global"`
	Count  uint32 `pb:"count"`
}

// SecondaryDeviceKind is the kind of a SecondaryDevice.
type SecondaryDeviceKind int32

// KindNVDLA is the only kind of secondary device.
const KindNVDLA SecondaryDeviceKind = 0

// SecondaryDevice is accepted and has no effect.
type SecondaryDevice struct {
	Kind     SecondaryDeviceKind `pb:"kind"`
	DeviceID int64               `pb:"device_id"`
}
