package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func declare(t *testing.T, source string) (string, error) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "main.go", "package main\n"+source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	exports, err := fileExports(file)
	var out strings.Builder
	write(&out, "cmd/x", "XExports", exports)
	return out.String(), err
}

func TestExportsAreDeclaredWithTheirComments(t *testing.T) {
	got, err := declare(t, `
// First line.
// Second line.
//
//go:wasmexport other
func f(a, b int32, c float64) int64 { return 0 }

// Without a result.
//
//go:wasmexport g
func g() {}

// Not exported.
func h(a string) {}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  /**\n   * First line.\n   * Second line.\n   */\n  other(a: number, b: number, c: number): bigint;\n",
		"  g(): void;\n}\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "h(") {
		t.Errorf("what is not exported is declared:\n%s", got)
	}
}

func TestWhatCannotCrossTheBoundaryIsRefused(t *testing.T) {
	for source, want := range map[string]string{
		"// C.\n//\n//go:wasmexport f\nfunc f(a string) {}":                     "string",
		"// C.\n//\n//go:wasmexport f\nfunc f(a []byte) {}":                     "plain numbers",
		"// C.\n//\n//go:wasmexport f\nfunc f() (int32, int32) { return 0, 0 }": "one result",
		"// C.\n//\n//go:wasmexport f\nfunc f(int32) {}":                        "no name",
		"//go:wasmexport f\nfunc f() {}":                                        "no comment",
	} {
		if _, err := declare(t, source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error that says %q", source, err, want)
		}
	}
}
