package conformance

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
)

// Books are the facts that must have happened to the orders of one file, computed as an accountant would. The keys of
// all maps are invoice numbers; amounts are in pence.
type Books struct {
	Placed, Refused, Returned, Cancelled map[string]bool  // invoices by outcome; Cancelled is a subset of Placed
	TotalPence                           map[string]int64 // of each placed order
	RefundPence                          map[string]int64 // of each return
	HasCustomer                          map[string]bool  // invoices that name a customer
	BadRows                              int              // number of rows that cannot be read
}

// CapturedPence returns the total of the placed orders that were not cancelled.
func (b *Books) CapturedPence() (sum int64) {
	for no := range b.Placed {
		if !b.Cancelled[no] {
			sum += b.TotalPence[no]
		}
	}
	return sum
}

// RefundedPence returns the total of all returns.
func (b *Books) RefundedPence() (sum int64) {
	for _, pence := range b.RefundPence {
		sum += pence
	}
	return sum
}

// ReadBooks computes the books of a CSV file, plain or compressed (.gz), by the rules that the shop documents. All
// lines with the same invoice number are one order. A line counts if its quantity and price are above zero, and its
// amount is the price in pence, rounded half up, times the quantity. An order of more than declineAbovePence is
// cancelled. An invoice whose number begins with C is a return, and its lines count if their quantity is below zero.
// Rows that cannot be read are counted in BadRows; the error is for a file that cannot be read.
func ReadBooks(name string, declineAbovePence int64) (*Books, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	b := &Books{
		Placed: map[string]bool{}, Refused: map[string]bool{}, Returned: map[string]bool{}, Cancelled: map[string]bool{},
		TotalPence: map[string]int64{}, RefundPence: map[string]int64{}, HasCustomer: map[string]bool{},
	}
	rows := csv.NewReader(in)
	rows.FieldsPerRecord = -1
	if _, err := rows.Read(); err != nil {
		return nil, fmt.Errorf("%s: header: %w", name, err)
	}
	seen, good := map[string]bool{}, map[string]bool{}
	for {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil || len(row) != 8 {
			b.BadRows++
			continue
		}
		quantity, errQuantity := strconv.ParseInt(row[3], 10, 64)
		price, ok := new(big.Rat).SetString(row[5])
		if errQuantity != nil || !ok || row[0] == "" {
			b.BadRows++
			continue
		}
		no := row[0]
		seen[no] = true
		if row[6] != "" {
			b.HasCustomer[no] = true
		}
		if price.Sign() <= 0 {
			continue
		}
		switch isReturn := strings.HasPrefix(no, "C"); {
		case isReturn && quantity < 0:
			b.RefundPence[no] += halfUp(price) * -quantity
		case !isReturn && quantity > 0:
			good[no] = true
			b.TotalPence[no] += halfUp(price) * quantity
		}
	}
	for no := range seen {
		switch {
		case strings.HasPrefix(no, "C"):
			b.Returned[no] = true
		case good[no]:
			b.Placed[no] = true
			if b.TotalPence[no] > declineAbovePence {
				b.Cancelled[no] = true
			}
		default:
			b.Refused[no] = true
		}
	}
	return b, nil
}

// halfUp returns a positive price, given in pounds, in pence, rounded half up.
func halfUp(pounds *big.Rat) int64 {
	pence := new(big.Rat).Mul(pounds, big.NewRat(100, 1))
	pence.Add(pence, big.NewRat(1, 2))
	return new(big.Int).Quo(pence.Num(), pence.Denom()).Int64()
}
