package input

import (
	"errors"
	"fmt"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestPriceInPence(t *testing.T) {
	for _, c := range []struct {
		pounds string
		pence  int64
		sign   int
	}{
		{"2.55", 255, 1},
		{"2.5", 250, 1},
		{"3", 300, 1},
		{".5", 50, 1},
		{"3.", 300, 1},
		{"+1.10", 110, 1},
		{"0", 0, 0},
		{"-0.00", 0, 0},
		// Case: 1.005 as a float is 1.00499…, which would lose a penny.
		{"1.005", 101, 1},
		{"1.0049999999999999999999", 100, 1},
		{"0.004", 0, 1}, // above zero, though it is worth nothing
		{"0.0050000", 1, 1},
		{"-11062.06", -1106206, -1},
		// Case: half up is towards the greater number, below zero too.
		{"-0.005", 0, -1},
		{"-0.0051", -1, -1},
	} {
		got, err := parsePrice(c.pounds)
		if err != nil || got.pence != c.pence || got.sign != c.sign {
			t.Errorf("%q: %+v %v, want %d pence and sign %d", c.pounds, got, err, c.pence, c.sign)
		}
	}
	for _, s := range []string{"", "-", ".", "1,50", "£2", "1e3", "0x1", "NaN", "1.2.3", "１", "10000000.01", "99999999999999999999999999"} {
		if got, err := parsePrice(s); err == nil {
			t.Errorf("%q: %+v, want an error", s, got)
		}
	}
}

// Case: any decimal gives what exact rational arithmetic gives: floor(100·x + 1/2).
func TestPriceIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`-?[0-9]{0,6}\.[0-9]{1,12}`).Draw(t, "pounds")
		got, err := parsePrice(s)
		if err != nil {
			t.Fatal(err)
		}
		x, _ := new(big.Rat).SetString(s)
		x.Mul(x, big.NewRat(200, 1)).Add(x, big.NewRat(1, 1)) // 200x + 1, of which the half is floored
		want := new(big.Int).Div(x.Num(), new(big.Int).Mul(x.Denom(), big.NewInt(2)))
		if want.Int64() != got.pence {
			t.Fatalf("%s pounds: %d pence, want %v", s, got.pence, want)
		}
	})
}

func TestTotalsNeverWrap(t *testing.T) {
	if _, err := addProduct(1<<63-1, 1, 1); !errors.Is(err, ErrTotal) {
		t.Errorf("the greatest sum and a penny: %v", err)
	}
	if sum, err := addProduct(1<<63-2, 1, 1); err != nil || sum != 1<<63-1 {
		t.Errorf("%d %v", sum, err)
	}
	if _, err := addProduct(0, 1<<40, 1<<40); !errors.Is(err, ErrTotal) {
		t.Errorf("2^80: %v", err)
	}
}

func ExampleBadRow_String() {
	fmt.Println(BadRow{Line: 7, Column: 41, Field: "Quantity", Reason: `"six" is not a whole number`})
	// Output: line 7, column 41 (Quantity): "six" is not a whole number
}
