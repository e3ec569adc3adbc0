import Export
import Testing

@Suite struct `Drawing a figure` {
    static let bars = """
        set title 'Restricted requests refused'
        set xtics rotate by -25 ('base' 0, 'aligned, int8' 1, 'fine-tuned' 2)
        $bars0 << EOD
        0 0.5 0.4 0.6
        1 1.0 0.9 1.0
        EOD
        plot $bars0 using 1:2 with boxes fs solid 0.8 noborder lc rgb '#0072b2' title 'known', \\
            $bars0 using 1:2:3:4 with yerrorbars lc rgb '#333333' notitle
        """

    @Test func `takes bars with tick labels and intervals`() {
        #expect(FigureDrawing.problem(with: Self.bars) == nil)
    }

    @Test(arguments: [
        ("plot '/etc/hostname'", "reads a file"),
        ("plot [0:1] '/etc/hostname' using 1", "reads a file"),
        ("plot for [i=1:2] '/etc/hostname'", "reads a file"),
        ("plot $a using 1:2, '/etc/hostname'", "reads a file"),
        ("f = '/etc/hostname'\nplot f", "does more than set and plot"),
        ("set title 'x'; f = 'y'", "does more than set and plot"),
        ("system('id')", "uses system, which a figure does not need"),
        ("set title \"`id`\"", "starts a program"),
        ("plot '< id'", "reads a file"),
        ("!id", "starts a program"),
        ("set output '/tmp/x'", "uses output, which a figure does not need"),
        ("set palette file '/etc/hostname'", "uses file, which a figure does not need"),
    ])
    func `refuses what reaches beyond the picture`(script: String, problem: String) {
        #expect(FigureDrawing.problem(with: script) == problem)
    }
}
