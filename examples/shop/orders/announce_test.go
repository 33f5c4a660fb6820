package orders

import (
	"strings"
	"testing"

	"tidings.dev/examples/shop/input"
)

// Case: what an invoice becomes, and that its id depends on its number alone.
func TestWhatAnInvoiceBecomes(t *testing.T) {
	const file = `InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,A,sold,2,2010-12-01 08:00:00,1.50,1.0,UK
2,A,gift,2,2010-12-01 08:00:00,0.00,1.0,UK
3,A,lost,-5,2010-12-01 08:00:00,1.00,,UK
C4,A,back,-2,2010-12-01 08:00:00,1.50,1.0,UK
C5,A,worth nothing,-2,2010-12-01 08:00:00,0.00,1.0,UK
`
	batch, err := input.Read(strings.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"order/1/placed", "order/2/refused", "order/3/refused", "return/C4/accepted", "return/C5/accepted"}
	for i, invoice := range batch.Invoices {
		if id := EventID(invoice); id != want[i] {
			t.Errorf("invoice %s is announced as %s, want %s", invoice.No, id, want[i])
		}
	}
}
