package input

import _ "embed"

// Attribution names the source of the carried day, as its licence asks.
const Attribution = "Chen, D. (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33, CC BY 4.0"

// CarriedDay is what the shop plays when it is given no file: the invoice lines of 2010-12-01, a gzipped CSV. See
// SOURCE.md. It must not be changed.
//
//go:embed online-retail-2010-12-01.csv.gz
var CarriedDay []byte
