// The mask itself: counts of every file, then samples whose learnt tokens stand out by weight, line and colour.

import type { FileContract, Inspection, ShownSample } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayRow } from "../../i18n/said";
import { useTrainingWords } from "./words";
import "./training.css";

export function MaskView({ inspection }: { inspection: Inspection }) {
  const { format } = useWords();
  const words = useTrainingWords().mask;
  const files = inspection.contract.sources.flatMap((source) =>
    source.files.map((file) => ({ source: nameOf(source.name), file })),
  );
  const sourceOf = ({ source }: ShownSample) => nameOf(inspection.contract.sources[source]?.name);
  const most = Math.max(0, ...files.map(({ file }) => file.num_rows));
  return (
    <div className="stack" data-testid="mask">
      <Counts files={files} />
      {!inspection.is_whole && (
        <p className="muted small" style={{ margin: 0 }}>
          {words.first(format.number(most))}
        </p>
      )}
      <div className="mask-legend small">
        <span>
          <mark className="learnt">{words.learnt}</mark>
        </span>
        <span className="muted">{words.notLearnt}</span>
        {inspection.samples.some(isWeighted) && (
          <span>
            <mark className="learnt weighted">{words.weighted}</mark>
          </span>
        )}
      </div>
      {inspection.samples.map((sample) => (
        <Sample
          key={`${sample.source} ${sample.file} ${sample.row} ${sample.side} ${sample.num_tokens}`}
          sample={sample}
          file={files.length > 1 ? `${sourceOf(sample)} ${sample.file}` : sample.file}
        />
      ))}
    </div>
  );
}

/** Without the commit that it is pinned to. */
const nameOf = (source = ""): string => source.split("@")[0] ?? "";

const isWeighted = (sample: ShownSample): boolean =>
  sample.segments.some(({ weight }) => weight !== 0 && weight !== 1);

function Sample({ sample, file }: { sample: ShownSample; file: string }) {
  const { format } = useWords();
  const words = useTrainingWords().mask;
  const learnt = sample.segments
    .filter(({ weight }) => weight > 0)
    .reduce((sum, { num_tokens }) => sum + num_tokens, 0);
  const side = sample.side === "" ? "" : words[sample.side];
  return (
    <figure className="mask-sample">
      <figcaption className="row between small">
        <span>
          <b className="break">{words.row(file, sample.row)}</b>{" "}
          {side && <span className="muted">{side}</span>}
        </span>
        <span className="muted num">
          {sample.is_cut
            ? null
            : words.tokens(format.number(learnt), format.number(sample.num_tokens))}
        </span>
      </figcaption>
      <pre tabIndex={0} aria-label={words.row(file, sample.row)}>
        {sample.segments.map((segment, index) =>
          segment.weight > 0 ? (
            <mark
              key={index}
              className={segment.weight === 1 ? "learnt" : "learnt weighted"}
              title={words.weight(String(segment.weight))}
            >
              {segment.text}
              {segment.weight !== 1 && <sup>{segment.weight}</sup>}
            </mark>
          ) : (
            <span key={index}>{segment.text}</span>
          ),
        )}
        {sample.is_cut && <i>{words.goesOn}</i>}
      </pre>
    </figure>
  );
}

function Counts({ files }: { files: { source: string; file: FileContract }[] }) {
  const { format, text } = useWords();
  const { mask: words, format: formats } = useTrainingWords();
  const columns: [string, (file: FileContract) => number][] = [
    [words.rows, (file) => file.num_rows],
    [words.kept, (file) => file.num_kept],
    [words.bad, (file) => file.num_bad],
    [words.zeroLoss, (file) => file.num_zero_loss],
    [words.cut, (file) => file.num_cut],
    [words.noEnd, (file) => file.num_without_end],
    [words.allTokens, (file) => file.num_tokens],
  ];
  // What is 0 everywhere tells nothing but for the rows themselves.
  const shown = columns.filter(
    ([, count], index) => index < 2 || files.some(({ file }) => count(file) > 0),
  );
  return (
    <div className="mask-counts" tabIndex={0} role="region" aria-label={words.title}>
      <table className="small">
        <thead>
          <tr>
            <th scope="col">{words.file}</th>
            {shown.map(([title]) => (
              <th key={title} scope="col" className="num">
                {title}
              </th>
            ))}
            <th scope="col" className="num">
              {words.learntTokens}
            </th>
          </tr>
        </thead>
        <tbody>
          {files.map(({ source, file }) => (
            <tr key={`${source} ${file.name}`}>
              <th scope="row">
                <span className="mono break">
                  {files.length > 1 ? `${source} ${file.name}` : file.name}
                </span>{" "}
                <span className="muted">{formats[file.format] ?? file.format}</span>
                {Object.keys(file.dropped).length > 0 && (
                  <div className="dropped">
                    {words.droppedTitle}{" "}
                    {Object.entries(file.dropped)
                      .map(([code, count]) => {
                        const one = file.problems.find((problem) => problem.code === code);
                        return words.dropped(
                          format.number(count),
                          one ? sayRow(text, one).problem : code,
                        );
                      })
                      .join(" ")}
                  </div>
                )}
              </th>
              {shown.map(([title, count]) => (
                <td key={title} className="num">
                  {format.number(count(file))}
                </td>
              ))}
              <td className="num">
                {format.percent(file.num_supervised_tokens / Math.max(1, file.num_tokens))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
