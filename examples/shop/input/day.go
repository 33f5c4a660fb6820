package input

import _ "embed"

// Attribution names the source of CarriedDay, as its licence requires.
const Attribution = "Chen, D. (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33, CC BY 4.0"

// CarriedDay is the input of the shop if no file is given: the invoice lines of 2010-12-01 from the data set Online
// Retail, as a gzipped CSV. SOURCE.md describes its source. It must not be changed.
//
//go:embed online-retail-2010-12-01.csv.gz
var CarriedDay []byte
