// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/bench/kernels/boost"
)

// lightGBM is a model in LightGBM's text form, version 4. There a value goes left when
// it does not exceed the threshold, so thresholds are the next smaller ones; the base
// goes into the leaves of the first tree.
func lightGBM(m *boost.Model) []byte {
	var text bytes.Buffer
	columns, ranges := make([]string, boost.Features), make([]string, boost.Features)
	for i := range columns {
		columns[i], ranges[i] = fmt.Sprintf("Column_%d", i), "[-1e30:1e30]"
	}
	fmt.Fprintf(&text, "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=%d\nobjective=regression\nfeature_names=%s\nfeature_infos=%s\n\n",
		boost.Features-1, strings.Join(columns, " "), strings.Join(ranges, " "))
	for i, t := range m.Trees {
		base := 0.0
		if i == 0 {
			base = float64(m.Base)
		}
		writeLightGBMTree(&text, i, t, base)
	}
	text.WriteString("end of trees\n\nparameters:\nend of parameters\n")
	return text.Bytes()
}

// columns are the lists that a text form has its nodes in.
type columns map[string][]string

func (c columns) add(name string, value string) { c[name] = append(c[name], value) }

func writeLightGBMTree(text *bytes.Buffer, index int, t []boost.Node, base float64) {
	number := make([]int, len(t)) // of branches from 0, of leaves from -1 down
	branches, leaves := 0, 0
	for i, n := range t {
		if n.Feature >= 0 {
			number[i] = branches
			branches++
		} else {
			leaves++
			number[i] = -leaves
		}
	}
	c := columns{}
	for _, n := range t {
		if n.Feature < 0 {
			c.add("leaf_value", exact(float64(n.Value)+base))
			continue
		}
		c.add("split_feature", strconv.Itoa(int(n.Feature)))
		c.add("split_gain", "1")
		c.add("threshold", exact(float64(math.Nextafter32(n.Threshold, float32(math.Inf(-1))))))
		c.add("decision_type", "2")
		c.add("left_child", strconv.Itoa(number[n.Left]))
		c.add("right_child", strconv.Itoa(number[n.Right]))
	}
	fmt.Fprintf(text, "Tree=%d\nnum_leaves=%d\nnum_cat=0\n", index, leaves)
	for _, name := range []string{"split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child", "leaf_value"} {
		fmt.Fprintf(text, "%s=%s\n", name, strings.Join(c[name], " "))
	}
	text.WriteString("is_linear=0\nshrinkage=1\n\n\n")
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', 17, 64) }

// object is an object of JSON.
type object map[string]any

// real is a number that is written as one with a fraction, which XGBoost insists on.
type real float32

// MarshalJSON implements json.Marshaler.
func (v real) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(v), 'e', -1, 32), nil
}

// xgBoost is a model in XGBoost's JSON form, whose branches compare as ours do.
func xgBoost(m *boost.Model) object {
	var list []object
	groups, iterations := []int{}, []int{0}
	for i, t := range m.Trees {
		list = append(list, xgBoostTree(i, t))
		groups, iterations = append(groups, 0), append(iterations, i+1)
	}
	count := strconv.Itoa(len(m.Trees))
	return object{
		"version": []int{2, 0, 0},
		"learner": object{
			"attributes": object{}, "feature_names": []string{}, "feature_types": []string{},
			"gradient_booster": object{"name": "gbtree", "model": object{
				"gbtree_model_param": object{"num_parallel_tree": "1", "num_trees": count},
				"iteration_indptr":   iterations, "tree_info": groups, "trees": list,
			}},
			"learner_model_param": object{
				"base_score": strconv.FormatFloat(float64(m.Base), 'g', 9, 32), "boost_from_average": "1",
				"num_class": "0", "num_feature": strconv.Itoa(boost.Features), "num_target": "1",
			},
			"objective": object{"name": "reg:squarederror", "reg_loss_param": object{"scale_pos_weight": "1"}},
		},
	}
}

func xgBoostTree(id int, t []boost.Node) object {
	const noParent = math.MaxInt32
	n := len(t)
	left, right, parents, features := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	conditions := make([]real, n)
	parents[0] = noParent
	for i, node := range t {
		left[i], right[i], conditions[i] = -1, -1, real(node.Value)
		if node.Feature >= 0 {
			left[i], right[i], features[i], conditions[i] = node.Left, node.Right, node.Feature, real(node.Threshold)
			parents[node.Left], parents[node.Right] = int32(i), int32(i)
		}
	}
	zeros, ones := make([]real, n), make([]real, n)
	for i := range ones {
		ones[i] = 1
	}
	return object{
		"id": id, "left_children": left, "right_children": right, "parents": parents,
		"split_indices": features, "split_conditions": conditions, "split_type": make([]int, n), "default_left": make([]int, n),
		"base_weights": zeros, "loss_changes": zeros, "sum_hessian": ones,
		"categories": []int{}, "categories_nodes": []int{}, "categories_segments": []int{}, "categories_sizes": []int{},
		"tree_param": object{
			"num_deleted": "0", "num_feature": strconv.Itoa(boost.Features), "num_nodes": strconv.Itoa(n), "size_leaf_vector": "1",
		},
	}
}
