// The datasets of the hub.

import { DownloadOutlined, UploadOutlined } from "../../widgets/icons";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { PageHead } from "../../widgets/PageHead";
import { RepoCards } from "../hub/RepoCards";
import { RepoFilters } from "../hub/RepoFilters";

export function DatasetsPage() {
  const { text } = useWords();
  const words = text.hub.datasets;
  const upload = (
    <LinkButton to="/datasets/new" type="primary" icon={<UploadOutlined />}>
      {words.upload}
    </LinkButton>
  );
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          <>
            <LinkButton to="/imports?kind=dataset" icon={<DownloadOutlined />}>
              {text.imports.begin}
            </LinkButton>
            {upload}
          </>
        }
      />
      <div className="catalogue">
        <RepoFilters kind="dataset" />
        <div>
          <RepoCards
            kind="dataset"
            nothing={<EmptyState title={words.empty} text={words.emptyText} action={upload} />}
          />
        </div>
      </div>
    </div>
  );
}
