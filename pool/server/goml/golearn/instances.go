package golearn

import (
	"fmt"

	"github.com/sjwhitworth/golearn/base"
)

// table is how GoLearn wants its data: attributes, and rows of bytes.
type table struct {
	features []base.Attribute
	class    *base.CategoricalAttribute
	binary   bool
}

// newTable has columns features and the classes in this order; binary features are present or absent.
func newTable(columns int, classes []string, binary bool) *table {
	made := &table{class: new(base.CategoricalAttribute), binary: binary}
	made.class.SetName("class")
	for _, class := range classes {
		made.class.GetSysValFromString(class)
	}
	for column := range columns {
		name := fmt.Sprintf("feature-%d", column)
		if binary {
			made.features = append(made.features, base.NewBinaryAttribute(name))
		} else {
			made.features = append(made.features, base.NewFloatAttribute(name))
		}
	}
	return made
}

// instances are rows of features (row-major), with their labels where there are some.
func (table *table) instances(features []float64, labels []string) (*base.DenseInstances, error) {
	made := base.NewDenseInstances()
	specifications := make([]base.AttributeSpec, len(table.features))
	for column, attribute := range table.features {
		specifications[column] = made.AddAttribute(attribute)
	}
	class := made.AddAttribute(table.class)
	if err := made.AddClassAttribute(table.class); err != nil {
		return nil, err
	}
	columns := len(table.features)
	rows := len(features) / columns
	if err := made.Extend(rows); err != nil {
		return nil, err
	}
	for row := range rows {
		for column, specification := range specifications {
			made.Set(specification, row, table.pack(features[row*columns+column]))
		}
		if labels != nil {
			made.Set(class, row, table.class.GetSysValFromString(labels[row]))
		}
	}
	return made, nil
}

func (table *table) pack(value float64) []byte {
	if !table.binary {
		return base.PackFloatToBytes(value)
	}
	if value != 0 {
		return []byte{1}
	}
	return []byte{0}
}

// floatInstances are rows of features with their classes as numbers.
func floatInstances(columns int, features, targets []float64) (*base.DenseInstances, error) {
	made := base.NewDenseInstances()
	specifications := make([]base.AttributeSpec, columns)
	for column := range columns {
		specifications[column] = made.AddAttribute(base.NewFloatAttribute(fmt.Sprintf("feature-%d", column)))
	}
	class := base.NewFloatAttribute("class")
	target := made.AddAttribute(class)
	if err := made.AddClassAttribute(class); err != nil {
		return nil, err
	}
	if err := made.Extend(len(targets)); err != nil {
		return nil, err
	}
	for row, number := range targets {
		for column, specification := range specifications {
			made.Set(specification, row, base.PackFloatToBytes(features[row*columns+column]))
		}
		made.Set(target, row, base.PackFloatToBytes(number))
	}
	return made, nil
}

// labelsOf are the classes of predicted instances.
func labelsOf(predicted base.FixedDataGrid) []string {
	_, rows := predicted.Size()
	labels := make([]string, rows)
	for row := range rows {
		labels[row] = base.GetClass(predicted, row)
	}
	return labels
}
