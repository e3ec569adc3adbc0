// Small factorizations, against cases worked by hand and against LAPACK.

import Engine
import Testing

/// Uniform numbers in [-1, 1) from a named stream.
func uniformNumbers(_ count: Int, seed: UInt64 = 1, name: String = "numbers") -> [Double] {
    var random = RandomStream(seed: seed, name: name)
    return (0..<count).map { _ in 2 * Double(random.uniform()) - 1 }
}

/// Rows times columns, plainly.
func naiveProduct(_ a: [Double], _ b: [Double], rows: Int, inner: Int, columns: Int) -> [Double] {
    var c = [Double](repeating: 0, count: rows * columns)
    for i in 0..<rows {
        for k in 0..<inner {
            for j in 0..<columns { c[i * columns + j] += a[i * inner + k] * b[k * columns + j] }
        }
    }
    return c
}

func naiveTranspose(_ a: [Double], rows: Int, columns: Int) -> [Double] {
    var t = a
    for i in 0..<rows {
        for j in 0..<columns { t[j * rows + i] = a[i * columns + j] }
    }
    return t
}

func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
    #expect(a.count == b.count)
    return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

@Suite struct `Small factorizations` {
    @Test func `eigenvalues of a two by two matrix`() {
        // [[2, 1], [1, 2]] has 3 along (1, 1) and 1 along (1, -1).
        let (values, vectors) = SmallFactorizations.symmetricEigen(
            [2, 1, 1, 2], size: 2, coordinates: 0..<2)
        #expect(largestDifference(values, [3, 1]) < 1e-15)
        let half = 0.5.squareRoot()
        #expect(largestDifference(vectors.map(abs), [half, half, half, half]) < 1e-15)
        #expect(vectors[0] * vectors[1] > 0 && vectors[2] * vectors[3] < 0)
    }

    @Test(arguments: [1, 3, 8, 41]) func `eigenvectors satisfy their equation`(size: Int) {
        let numbers = uniformNumbers(size * size)
        var matrix = numbers
        for i in 0..<size {
            for j in 0..<size {
                matrix[i * size + j] = numbers[i * size + j] + numbers[j * size + i]
            }
        }
        let (values, vectors) = SmallFactorizations.symmetricEigen(
            matrix, size: size, coordinates: 0..<size)
        #expect(values == values.sorted(by: >))
        let images = naiveProduct(vectors, matrix, rows: size, inner: size, columns: size)
        for i in 0..<size {
            for j in 0..<size {
                // f64 rounding, over `size` sums of numbers up to 2.
                #expect(
                    abs(images[i * size + j] - values[i] * vectors[i * size + j]) < 1e-14
                        * Double(size))
            }
        }
        let part = SmallFactorizations.symmetricEigen(
            matrix, size: size, coordinates: size - 1..<size)
        #expect(part.values == values)
        #expect((0..<size).allSatisfy { part.vectors[$0] == vectors[$0 * size + size - 1] })
    }

    @Test func `eigenvalues of nothing and of zeros`() {
        #expect(SmallFactorizations.symmetricEigen([], size: 0, coordinates: 0..<0).values == [])
        let zeros = [Double](repeating: 0, count: 25)
        #expect(
            SmallFactorizations.symmetricEigen(zeros, size: 5, coordinates: 0..<5).values
                == [0, 0, 0, 0, 0])
    }

    @Test(arguments: [8, 24, 700, 3000]) func `QR gives back its matrix`(rows: Int) {
        let width = 8
        let matrix = uniformNumbers(rows * width)
        var q = matrix
        let r = SmallFactorizations.orthonormalize(&q, rows: rows, width: width)
        let back = naiveProduct(q, r, rows: rows, inner: width, columns: width)
        #expect(largestDifference(back, matrix) < 1e-14)
        let gram = naiveProduct(
            naiveTranspose(q, rows: rows, columns: width), q, rows: width, inner: rows,
            columns: width)
        for i in 0..<width {
            for j in 0..<width { #expect(abs(gram[i * width + j] - (i == j ? 1 : 0)) < 1e-14) }
        }
        for i in 0..<width {
            for j in 0..<i { #expect(r[i * width + j] == 0) }
        }
    }

    @Test func `QR of dependent columns is orthonormal all the same`() {
        let (rows, width) = (1500, 16)
        var q = uniformNumbers(rows * width)
        for r in 0..<rows {
            q[r * width + 5] = 2 * q[r * width + 1]
            q[r * width + 9] = 0
        }
        _ = SmallFactorizations.orthonormalize(&q, rows: rows, width: width)
        let gram = naiveProduct(
            naiveTranspose(q, rows: rows, columns: width), q, rows: width, inner: rows,
            columns: width)
        for i in 0..<width {
            for j in 0..<width { #expect(abs(gram[i * width + j] - (i == j ? 1 : 0)) < 1e-14) }
        }
    }

    @Test func `Jacobi finds tiny values to relative accuracy`() {
        // Orthogonal columns of lengths 1, 1e-8 and 1e-30, turned by nothing: found as they are.
        let columns = [1.0, 0, 0, 0, 1e-8, 0, 0, 0, 1e-30]
        let (values, _, _) = SmallFactorizations.singularValues(
            columns: columns, count: 3, length: 3)
        #expect(values == [1, 1e-8, 1e-30])
        #expect(
            SmallFactorizations.singularValues(columns: [0, 0, 0, 0], count: 2, length: 2).values
                == [0, 0])
        #expect(SmallFactorizations.singularValues(columns: [], count: 0, length: 0).values == [])
    }

    @Test func `Jacobi agrees with LAPACK`() throws {
        let size = 23
        let matrix = uniformNumbers(size * size, seed: 7)
        let ours = SmallFactorizations.singularValues(
            columns: naiveTranspose(matrix, rows: size, columns: size), count: size, length: size)
        let theirs = try LAPACK.singularValueDecomposition(matrix, rows: size, columns: size)
        #expect(largestDifference(ours.values, theirs.singularValues) < 1e-13)
    }

    @Test func `LAPACK's decomposition gives back its matrix`() throws {
        for (rows, columns) in [(5, 9), (9, 5), (1, 1), (1, 4), (0, 3)] {
            let matrix = uniformNumbers(rows * columns)
            let svd = try LAPACK.singularValueDecomposition(matrix, rows: rows, columns: columns)
            let count = min(rows, columns)
            var scaled = svd.u
            for i in scaled.indices { scaled[i] *= svd.singularValues[i % count] }
            let back = naiveProduct(scaled, svd.vt, rows: rows, inner: count, columns: columns)
            #expect(largestDifference(back, matrix) < 1e-14)
        }
    }

    @Test func `LAPACK is not given what is no number`() {
        #expect(throws: LinearAlgebraError(.nonFinite(row: 1, column: 0), matrix: "matrix")) {
            try LAPACK.singularValueDecomposition([1, 2, .nan, 4], rows: 2, columns: 2)
        }
    }

    @Test func `errors say what, where and how to mend`() {
        let error = LinearAlgebraError(
            .notConverged(residual: 0.001, target: 1e-05, passes: 300), matrix: "lm_head.weight")
        #expect(
            error.description == """
                After 300 passes the residual is 0.001 of the largest singular value, above the target 1e-05.
                  where: lm_head.weight
                  mend:  the singular values around the rank may be equal: ask for another rank, a larger \
                residualTarget, or more maximumPasses.
                """)
        #expect(
            LinearAlgebraError(.nonFinite(row: 3, column: 4), matrix: "w").description == """
                The element at row 3, column 4 is infinite or not a number.
                  where: w
                  mend:  look for overflow in the training that made these weights; no part of them is used.
                """)
    }
}
