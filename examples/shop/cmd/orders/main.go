// Command orders runs the shop's orders service. It emits one fact for each invoice of a file, once, also if it is run
// several times, and ends.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"tidings.dev"
	"tidings.dev/examples/shop/input"
	"tidings.dev/examples/shop/orders"
	"tidings.dev/examples/shop/service"
)

func main() {
	p := service.New("orders", "announces the invoices of a file, each once, and ends")
	file := p.Flags.String("input", "", "CSV `file`, plain or gzipped (default: the day that the program carries)")
	var options input.Options
	p.Flags.Var(&options.Dates, "date-format", "`order` of day and month in dates like 12/1/2010, mdy or dmy (default: as the file shows it)")
	rate := p.Flags.Float64("rate", 0, "the most `invoices` to announce a second; 0: as many as the log takes")
	p.Emit(func(ctx context.Context, app *tidings.App, where tidings.Connection) error {
		batch, err := read(*file, options)
		if err != nil {
			return err
		}
		result, err := orders.Import(ctx, app, where, batch.Invoices, *rate)
		fmt.Fprintf(os.Stderr, "orders: %d announced, %d were there already, %d bad rows\n", result.Emitted, result.Known, batch.BadRows)
		return err
	})
}

// read returns the invoices of a file, or of input.CarriedDay if file is "". It prints bad rows, and notes on how the
// file was read, to stderr.
func read(file string, options input.Options) (*input.Batch, error) {
	var in io.Reader = bytes.NewReader(input.CarriedDay)
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	batch, err := options.Read(in, func(row input.BadRow) { fmt.Fprintf(os.Stderr, "orders: %s: %v\n", file, row) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, note := range batch.Format.Notes() {
		fmt.Fprintf(os.Stderr, "orders: %s: %s\n", file, note)
	}
	return batch, nil
}
