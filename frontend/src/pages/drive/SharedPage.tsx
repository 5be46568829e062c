// What a shared link opens, for whoever has it, signed in or not.

import { Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { driveQueries } from "../../api/driveQueries";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { DownloadOutlined } from "../../widgets/icons";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";

export function SharedPage() {
  const { text, format } = useWords();
  const words = text.drive.shared;
  const { token = "" } = useParams();
  const { data, isError } = useQuery(driveQueries.shared(token));
  if (isError) {
    return (
      <main className="page">
        <h1 className="visually-hidden">{words.title}</h1>
        <EmptyState title={words.goneTitle} text={words.goneText} />
      </main>
    );
  }
  if (!data) return <PageSkeleton />;
  return (
    <main className="page" style={{ maxWidth: 640 }}>
      <PageHead
        title={words.title}
        lead={words.from(data.owner, format.relative(data.expires_at))}
      />
      <div className="panel row between">
        <div>
          <strong className="break">{data.name}</strong>
          <div className="muted small">
            {data.is_folder ? words.folder : format.bytes(data.size_bytes ?? 0)}
          </div>
        </div>
        <Button
          type="primary"
          icon={<DownloadOutlined />}
          href={`/api/drive/shared/${encodeURIComponent(token)}/file/`}
          download
        >
          {text.download}
        </Button>
      </div>
    </main>
  );
}
