// Command orders runs the shop's orders service: it announces the invoices of a file, each once, and ends.
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
	rate := p.Flags.Float64("rate", 0, "announce at most so many a second; 0: as many as the log takes")
	p.Emit(func(ctx context.Context, app *tidings.App, where tidings.Connection) error {
		batch, err := read(*file)
		if err != nil {
			return err
		}
		result, err := orders.Import(ctx, app, where, batch.Invoices, *rate)
		fmt.Fprintf(os.Stderr, "orders: %d announced, %d were there already, %d bad rows\n", result.Emitted, result.Known, batch.BadRows)
		return err
	})
}

func read(file string) (*input.Batch, error) {
	var in io.Reader = bytes.NewReader(input.CarriedDay)
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return input.Read(in, func(row input.BadRow) { fmt.Fprintf(os.Stderr, "orders: %s: %v\n", file, row) })
}
