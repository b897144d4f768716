// SPDX-License-Identifier: Apache-2.0

package neon

// The instructions: floats are of 32 bits unless lanes say otherwise; an H or B at the
// end of a name is for lanes of 16 or 8 bits, Upper for those that read the upper half
// of a register.
var (
	FADD        = Op{name: "fadd", lanes: "4s 4s 4s", bits: 0x4e20d400}
	FSUB        = Op{name: "fsub", lanes: "4s 4s 4s", bits: 0x4ea0d400}
	FMUL        = Op{name: "fmul", lanes: "4s 4s 4s", bits: 0x6e20dc00}
	FDIV        = Op{name: "fdiv", lanes: "4s 4s 4s", bits: 0x6e20fc00}
	FMAX        = Op{name: "fmax", lanes: "4s 4s 4s", bits: 0x4e20f400}
	FMIN        = Op{name: "fmin", lanes: "4s 4s 4s", bits: 0x4ea0f400}
	FCMEQ       = Op{name: "fcmeq", lanes: "4s 4s 4s", bits: 0x4e20e400}
	FCMGE       = Op{name: "fcmge", lanes: "4s 4s 4s", bits: 0x6e20e400}
	FCMGT       = Op{name: "fcmgt", lanes: "4s 4s 4s", bits: 0x6ea0e400}
	FMLA        = Op{name: "fmla", lanes: "4s 4s 4s", reads: true, plan9: "VFMLA"}
	FMLS        = Op{name: "fmls", lanes: "4s 4s 4s", reads: true, plan9: "VFMLS"}
	AND         = Op{name: "and", lanes: "16b 16b 16b", plan9: "VAND"}
	ORR         = Op{name: "orr", lanes: "16b 16b 16b", plan9: "VORR"}
	EOR         = Op{name: "eor", lanes: "16b 16b 16b", plan9: "VEOR"}
	BIC         = Op{name: "bic", lanes: "16b 16b 16b", bits: 0x4e601c00}
	BSL         = Op{name: "bsl", lanes: "16b 16b 16b", reads: true, plan9: "VBSL"}
	BIT         = Op{name: "bit", lanes: "16b 16b 16b", reads: true, plan9: "VBIT"}
	BIF         = Op{name: "bif", lanes: "16b 16b 16b", reads: true, plan9: "VBIF"}
	ADD         = Op{name: "add", lanes: "4s 4s 4s", plan9: "VADD"}
	SUB         = Op{name: "sub", lanes: "4s 4s 4s", plan9: "VSUB"}
	MUL         = Op{name: "mul", lanes: "4s 4s 4s", bits: 0x4ea09c00}
	MLS         = Op{name: "mls", lanes: "4s 4s 4s", bits: 0x6ea09400, reads: true}
	MLA         = Op{name: "mla", lanes: "4s 4s 4s", bits: 0x4ea09400, reads: true}
	SUB2D       = Op{name: "sub", lanes: "2d 2d 2d", plan9: "VSUB"}
	FCMGT2D     = Op{name: "fcmgt", lanes: "2d 2d 2d", bits: 0x6ee0e400}
	ZIP1H       = Op{name: "zip1", lanes: "8h 8h 8h", plan9: "VZIP1"}
	ZIP2H       = Op{name: "zip2", lanes: "8h 8h 8h", plan9: "VZIP2"}
	UZP2H       = Op{name: "uzp2", lanes: "8h 8h 8h", plan9: "VUZP2"}
	CMEQ        = Op{name: "cmeq", lanes: "4s 4s 4s", plan9: "VCMEQ"}
	CMGT        = Op{name: "cmgt", lanes: "4s 4s 4s", bits: 0x4ea03400}
	CMHI2D      = Op{name: "cmhi", lanes: "2d 2d 2d", bits: 0x6ee03400}
	ADDP        = Op{name: "addp", lanes: "4s 4s 4s", plan9: "VADDP"}
	ADD8H       = Op{name: "add", lanes: "8h 8h 8h", plan9: "VADD"}
	SUB8H       = Op{name: "sub", lanes: "8h 8h 8h", plan9: "VSUB"}
	FMAXNM      = Op{name: "fmaxnm", lanes: "4s 4s 4s", bits: 0x4e20c400}
	FSQRT       = Op{name: "fsqrt", lanes: "4s 4s", bits: 0x6ea1f800}
	FABS        = Op{name: "fabs", lanes: "4s 4s", bits: 0x4ea0f800}
	FNEG        = Op{name: "fneg", lanes: "4s 4s", bits: 0x6ea0f800}
	FRINTN      = Op{name: "frintn", lanes: "4s 4s", bits: 0x4e218800}
	FRINTM      = Op{name: "frintm", lanes: "4s 4s", bits: 0x4e219800}
	FRINTP      = Op{name: "frintp", lanes: "4s 4s", bits: 0x4ea18800}
	FCVTNS      = Op{name: "fcvtns", lanes: "4s 4s", bits: 0x4e21a800}
	FCVTZS      = Op{name: "fcvtzs", lanes: "4s 4s", bits: 0x4ea1b800}
	SCVTF       = Op{name: "scvtf", lanes: "4s 4s", bits: 0x4e21d800}
	FCVTZS2D    = Op{name: "fcvtzs", lanes: "2d 2d", bits: 0x4ee1b800}
	MVN         = Op{name: "mvn", lanes: "16b 16b", bits: 0x6e205800}
	FCVTL       = Op{name: "fcvtl", lanes: "2d 2s", bits: 0x0e617800}
	FCVTLUpper  = Op{name: "fcvtl2", lanes: "2d 4s", bits: 0x4e617800}
	FCVTN       = Op{name: "fcvtn", lanes: "2s 2d", bits: 0x0e616800}
	FCVTNUpper  = Op{name: "fcvtn2", lanes: "4s 2d", bits: 0x4e616800, reads: true}
	FCVTLH      = Op{name: "fcvtl", lanes: "4s 4h", bits: 0x0e217800}
	FCVTLHUpper = Op{name: "fcvtl2", lanes: "4s 8h", bits: 0x4e217800}
	FCVTNH      = Op{name: "fcvtn", lanes: "4h 4s", bits: 0x0e216800}
	FCVTNHUpper = Op{name: "fcvtn2", lanes: "8h 4s", bits: 0x4e216800, reads: true}
	XTN2S       = Op{name: "xtn", lanes: "2s 2d", bits: 0x0ea12800}
	XTN4S       = Op{name: "xtn2", lanes: "4s 2d", bits: 0x4ea12800, reads: true}
	XTN4H       = Op{name: "xtn", lanes: "4h 4s", bits: 0x0e612800}
	XTN8H       = Op{name: "xtn2", lanes: "8h 4s", bits: 0x4e612800, reads: true}
	XTN8B       = Op{name: "xtn", lanes: "8b 8h", bits: 0x0e212800}
	SQXTUN8B    = Op{name: "sqxtun", lanes: "8b 8h", bits: 0x2e212800}
	SQXTUN16B   = Op{name: "sqxtun2", lanes: "16b 8h", bits: 0x6e212800, reads: true}
	SXTL8H      = Op{name: "sxtl", lanes: "8h 8b", bits: 0x0f08a400}
	SXTL4S      = Op{name: "sxtl", lanes: "4s 4h", bits: 0x0f10a400}
	SXTL4SUpper = Op{name: "sxtl2", lanes: "4s 8h", bits: 0x4f10a400}
	SXTL2D      = Op{name: "sxtl", lanes: "2d 2s", bits: 0x0f20a400}
	SXTL2DUpper = Op{name: "sxtl2", lanes: "2d 4s", bits: 0x4f20a400}
	UXTL8H      = Op{name: "uxtl", lanes: "8h 8b", bits: 0x2f08a400}
	UXTL8HUpper = Op{name: "uxtl2", lanes: "8h 16b", bits: 0x6f08a400}
	UXTL4S      = Op{name: "uxtl", lanes: "4s 4h", bits: 0x2f10a400}
	UXTL4SUpper = Op{name: "uxtl2", lanes: "4s 8h", bits: 0x6f10a400}
	SADALP      = Op{name: "sadalp", lanes: "4s 8h", bits: 0x4e606800, reads: true}
	SADDLPB     = Op{name: "saddlp", lanes: "8h 16b", bits: 0x4e202800}
	SMULL       = Op{name: "smull", lanes: "8h 8b 8b", bits: 0x0e20c000}
	SMULL2      = Op{name: "smull2", lanes: "8h 16b 16b", bits: 0x4e20c000}
	ZIP1D       = Op{name: "zip1", lanes: "2d 2d 2d", plan9: "VZIP1"}
	ZIP2D       = Op{name: "zip2", lanes: "2d 2d 2d", plan9: "VZIP2"}
	TRN1        = Op{name: "trn1", lanes: "4s 4s 4s", plan9: "VTRN1"}
	TRN2        = Op{name: "trn2", lanes: "4s 4s 4s", plan9: "VTRN2"}
	FADDP       = Op{name: "faddp", lanes: "4s 4s 4s", bits: 0x6e20d400}
	FMAXP       = Op{name: "fmaxp", lanes: "4s 4s 4s", bits: 0x6e20f400}
	ADDV        = Op{name: "addv", lanes: "s 4s", bits: 0x4eb1b800}
)
