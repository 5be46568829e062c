// One file of a repo: text with its colours, a picture, or the tensors that its header names.

import { Alert, Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { DownloadOutlined } from "../../widgets/icons";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { Loaded } from "../../widgets/Loaded";
import { fileUrl } from "./cardLinks";
import { fence, hasTensors, isPicture, languageOf, readStart } from "./fileStart";
import { TensorTable } from "./TensorTable";

const MOST_COLOURED = 64 * 1024;
const MOST_PICTURE_BYTES = 20 * 2 ** 20;

export function FilePreview({ repo, path }: { repo: RepoDetail; path: string }) {
  const { text, format } = useWords();
  const words = text.repo.files;
  const file = repo.files.find((each) => each.path === path);
  const url = fileUrl(repo, repo.revision, path);
  const name = path.split("/").at(-1) ?? path;
  return (
    <section aria-label={path} data-testid="file-preview">
      <div className="log-tools file-tools">
        <span className="muted small num">{file && format.bytes(file.size_bytes)}</span>
        {file && (
          <span className="mono muted small">
            {file.sha256.slice(0, 12)}{" "}
            <CopyButton text={file.sha256} size="small" label="SHA-256" />
          </span>
        )}
        <span className="grow" />
        <CopyButton text={path} label={words.copyPath} isWide type="default" />
        {repo.can.read && (
          <Button icon={<DownloadOutlined />} href={url} download={name}>
            {text.download}
          </Button>
        )}
      </div>
      {hasTensors(path) ? (
        <TensorTable repo={repo} path={path} />
      ) : isPicture(path) && file && file.size_bytes <= MOST_PICTURE_BYTES ? (
        <div className="file-picture">
          <img src={url} alt={name} />
        </div>
      ) : (
        <TextPreview url={url} path={path} size={file?.size_bytes ?? -1} />
      )}
    </section>
  );
}

function TextPreview({ url, path, size }: { url: string; path: string; size: number }) {
  const { text, format } = useWords();
  const words = text.repo.files;
  const start = useQuery({
    queryKey: ["file-start", url],
    queryFn: ({ signal }) => readStart(url, size, signal),
    staleTime: Infinity,
  });
  return (
    <Loaded query={start}>
      {({ text: shown, numBytes }) => {
        if (shown === null) return <p className="muted file-note">{words.binary}</p>;
        if (shown === "") return <p className="muted file-note">{words.nothing}</p>;
        return (
          <>
            {numBytes < size && (
              <Alert
                banner
                type="info"
                title={words.cut(format.bytes(numBytes), format.bytes(size))}
              />
            )}
            <div className="file-text">
              {languageOf(path) && shown.length <= MOST_COLOURED ? (
                <LazyMarkdown text={fence(shown, languageOf(path))} />
              ) : (
                <pre tabIndex={0}>{shown}</pre>
              )}
            </div>
          </>
        );
      }}
    </Loaded>
  );
}
