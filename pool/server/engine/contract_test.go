package engine

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine/internal/contracthash"
	"treeline.dev/pool/gen/contract"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

func TestTheGeneratedHashIsThatOfTheProtoFiles(t *testing.T) {
	hash, err := contracthash.Of("../../../proto")
	if err != nil {
		t.Fatal(err)
	}
	if hash != contract.Hash {
		t.Fatalf("gen/contract has %s, the proto files %s: run \"go generate ./engine\"", contract.Hash, hash)
	}
}

func TestAnEngineOfAnotherContractIsRefusedWithBothNamed(t *testing.T) {
	for _, other := range []Contract{{ABIVersion: 2, Hash: Built.Hash}, {ABIVersion: 1, Hash: "0123456789abcdef"}} {
		hello, err := proto.Marshal(&enginev1.HelloReply{AbiVersion: other.ABIVersion, ContractHash: other.Hash})
		if err != nil {
			t.Fatal(err)
		}
		var refusal *Error
		if !errors.As(Built.Check(hello), &refusal) || refusal.Status != enginev1.Status_STATUS_VERSION_MISMATCH {
			t.Fatalf("%v was not refused: %v", other, refusal)
		}
		if !strings.Contains(refusal.Message, Built.Hash) || !strings.Contains(refusal.Message, other.Hash) {
			t.Fatalf("the sentence does not name both: %s", refusal.Message)
		}
	}
	hello, _ := proto.Marshal(&enginev1.HelloReply{AbiVersion: Built.ABIVersion, ContractHash: Built.Hash})
	if err := Built.Check(hello); err != nil {
		t.Fatal(err)
	}
}

func TestAGreetingThatIsNoMessageIsRefused(t *testing.T) {
	if err := Built.Check([]byte{0xff, 0xff, 0xff}); err == nil {
		t.Fatal("accepted")
	}
}
