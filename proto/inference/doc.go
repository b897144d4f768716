// SPDX-License-Identifier: Apache-2.0

// Package inference is the wire form of the inference protocol, generated from the
// .proto files beside it by proto/_gen.
package inference
