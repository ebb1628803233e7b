package iomethod_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"iopath/workloads/iomethod"
	"iopath/workloads/iomethod/iomethodtest"
)

func TestConformance(t *testing.T) { iomethodtest.Run(t) }

func TestPiece(t *testing.T) {
	type piece struct {
		off int64
		n   int
	}
	for _, c := range []struct {
		name string
		plan iomethod.Plan
		want []piece
	}{
		{"nothing", iomethod.Plan{Block: 4096}, nil},
		{"nothing, from the middle on", iomethod.Plan{Start: 77, Block: 1}, nil},
		{"one whole block", iomethod.Plan{Length: 10, Block: 10}, []piece{{0, 10}}},
		{"less than a block", iomethod.Plan{Start: 5, Length: 3, Block: 10}, []piece{{5, 3}}},
		{"two blocks", iomethod.Plan{Length: 20, Block: 10}, []piece{{0, 10}, {10, 10}}},
		{"a rest of one byte", iomethod.Plan{Start: 1, Length: 21, Block: 10}, []piece{{1, 10}, {11, 10}, {21, 1}}},
		{"blocks of one byte", iomethod.Plan{Start: 7, Length: 3, Block: 1}, []piece{{7, 1}, {8, 1}, {9, 1}}},
		{"in an order", iomethod.Plan{Start: 100, Length: 25, Block: 10, Order: []uint32{2, 0, 1}}, []piece{{120, 5}, {100, 10}, {110, 10}}},
		{"beyond 4 GiB", iomethod.Plan{Start: 1 << 40, Length: 1<<30 + 1, Block: 1 << 30}, []piece{{1 << 40, 1 << 30}, {1<<40 + 1<<30, 1}}},
	} {
		var got []piece
		for i := range c.plan.Pieces() {
			off, n := c.plan.Piece(i)
			got = append(got, piece{off, n})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: pieces = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	reader := iomethod.Role[iomethod.Reader]{New: func(iomethod.Config) (iomethod.Reader, error) { return nil, nil }}
	for _, c := range []struct {
		m    iomethod.Method
		want string // part of the panic's text
	}{
		{iomethod.Method{Doc: "no name", Reader: reader}, `name ""`},
		{iomethod.Method{Name: "a b", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "a/b", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "a=b", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "a,b", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "a\nb", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "ring-8", Doc: "x", Reader: reader}, "does not fit"},
		{iomethod.Method{Name: "x", Reader: reader}, "Doc"},
		{iomethod.Method{Name: "x", Doc: "two\nlines", Reader: reader}, "Doc"},
		{iomethod.Method{Name: "x", Doc: "does nothing"}, "no role"},
		{iomethod.Method{Name: "null", Doc: "there is one", Reader: reader}, "twice"},
	} {
		before := len(iomethod.All())
		text := func() (text string) {
			defer func() { text, _ = recover().(string) }()
			iomethod.Register(c.m)
			return ""
		}()
		if !strings.Contains(text, c.want) {
			t.Errorf("Register(%q, %q) panicked with %q, want a text with %q", c.m.Name, c.m.Doc, text, c.want)
		}
		if after := len(iomethod.All()); after != before {
			t.Errorf("Register(%q) left %d methods, want %d", c.m.Name, after, before)
		}
	}
}

func TestLookup(t *testing.T) {
	all := iomethod.All()
	if !slices.IsSortedFunc(all, func(a, b iomethod.Method) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("All() is not sorted by name")
	}
	for _, m := range all {
		got, ok := iomethod.Lookup(m.Name)
		if !ok || got.Name != m.Name || got.Doc != m.Doc {
			t.Errorf("Lookup(%q) = %q, %v, want the method of that name", m.Name, got.Name, ok)
		}
		if strings.HasSuffix(m.Doc, ".") {
			t.Errorf("%s: Doc ends with a full stop: %q", m.Name, m.Doc)
		}
		for _, role := range m.Roles() {
			// What is mapped, or in memory that is shared, moves without a call.
			without := m.Cache == "warm" || role == "channel" || role == "mapper"
			if calls := m.Calls(role); m.Idle != (len(calls) == 0) && !without {
				t.Errorf("%s as %s declares the calls %q, want some unless it is idle", m.Name, role, calls)
			}
		}
	}
	for _, name := range []string{"", "Null", "nul", "carrier-pigeon"} {
		if m, ok := iomethod.Lookup(name); ok || m.Name != "" {
			t.Errorf("Lookup(%q) = %q, %v, want none", name, m.Name, ok)
		}
	}
	want := []string{"reader", "writer", "sender", "copier"}
	if m, _ := iomethod.Lookup("null"); !reflect.DeepEqual(m.Roles(), want) || m.Calls("cook") != nil {
		t.Errorf("null: roles %v, calls as cook %v; want %v and none", m.Roles(), m.Calls("cook"), want)
	}
	// What All returns is the caller's own.
	if len(all) > 0 {
		all[0].Name = "changed"
		if _, ok := iomethod.Lookup("changed"); ok {
			t.Error("changing what All returned changed the registry")
		}
	}
}
