package vnnlib
import ("testing";"os";"fmt";"time";"path/filepath";"strings")
func TestTry(t *testing.T){
 files,_ := filepath.Glob("../../../shared/data/vnncomp/*/vnnlib/*")
 start:=time.Now()
 for _,f := range files { q,err := Load(f); if err!=nil {t.Error(err);continue}; _=q }
 fmt.Println(len(files), time.Since(start))
 for _,s := range []string{
 "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (or (and (<= X_0 1)(>= X_0 0)(<= Y_0 Y_1)) (and (== X_0 (/ 1 3)) (or (!= Y_0 2) (>= (+ (* 3 Y_0) (/ 1 7)) Y_1)))))",
 "(vnnlib-version <2.0>)(declare-network acc (declare-input X Real [1,2]) (declare-output Y Real []))(assert (<= (* -1.0 X[0,1]) 0)) (assert (and (<= X[0,1] 3) (== X[0,0] 1.5))) (assert (or (<= Y 3) (> Y 5) (<= Y 3.0)))"} {
  q,err := parse(s,"t"); if err!=nil {t.Error(err);continue}
  fmt.Printf("%+v %s\n",q, q.Logic()); if err:=Write(os.Stdout,q);err!=nil {t.Error(err)}
  var b strings.Builder; Write(&b,q); q2,err:=parse(b.String(),"u"); if err!=nil {t.Error(err);continue}; var c strings.Builder; Write(&c,q2); if c.String()!=b.String(){t.Error(c.String())}
 }
}
