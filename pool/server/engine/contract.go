package engine

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/gen/contract"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

//go:generate go run ./internal/contracthash/cmd ../../../proto ../gen/contract/hash.go

// Contract is what the two sides must agree on before the first call.
type Contract struct {
	// ABIVersion is the layout of C structures and of shared memory.
	ABIVersion uint32
	// Hash is that of the proto files.
	Hash string
}

// Built is the contract that this program was built from.
var Built = Contract{ABIVersion: ABIVersion, Hash: contract.Hash}

// OrBuilt is the contract itself, or Built where it is zero.
func (contract Contract) OrBuilt() Contract {
	if contract == (Contract{}) {
		return Built
	}
	return contract
}

// Check refuses an engine that was built from another contract: hello is the header of its reply to HELLO.
func (contract Contract) Check(hello []byte) error {
	var reply enginev1.HelloReply
	if err := proto.Unmarshal(hello, &reply); err != nil {
		return &Error{
			Status:  enginev1.Status_STATUS_VERSION_MISMATCH,
			Message: "The engine's greeting cannot be read: build server and engine from the same sources.",
		}
	}
	if reply.AbiVersion == contract.ABIVersion && reply.ContractHash == contract.Hash {
		return nil
	}
	return &Error{
		Status: enginev1.Status_STATUS_VERSION_MISMATCH,
		Message: fmt.Sprintf("The server was built with ABI version %d and contract %s, the engine with ABI version %d "+
			"and contract %s: build both from the same sources.",
			contract.ABIVersion, contract.Hash, reply.AbiVersion, reply.ContractHash),
	}
}
