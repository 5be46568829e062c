// The labelling projects that somebody owns or was invited to.

import { Pagination, Progress, Tag } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import type { Labelling } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useUrlState } from "../useUrlState";

const PAGE_SIZE = 20;

export function LabellingPage() {
  const { text } = useWords();
  const words = text.labelling;
  const [read, write] = useUrlState();
  const page = Number(read("page")) || 1;
  const query = { page, page_size: PAGE_SIZE, dataset: read("dataset") };
  const projects = useQuery({ ...queries.labellings(query), placeholderData: keepPreviousData });
  const begin = (
    <LinkButton to="/labelling/new" type="primary">
      {words.begin}
    </LinkButton>
  );
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} actions={begin} />
      <Loaded query={projects}>
        {(data) => (
          <>
            {data.count === 0 && (
              <EmptyState
                title={words.empty}
                text={words.emptyText}
                action={<LinkButton to="/datasets">{words.toDatasets}</LinkButton>}
              />
            )}
            <div className="cards">
              {data.results.map((project) => (
                <ProjectCard key={project.id} project={project} />
              ))}
            </div>
            <Pagination
              style={{ marginTop: 16 }}
              current={page}
              pageSize={PAGE_SIZE}
              total={data.count}
              hideOnSinglePage
              showSizeChanger={false}
              onChange={(value) => write({ page: value > 1 ? String(value) : "" })}
            />
          </>
        )}
      </Loaded>
    </div>
  );
}

function ProjectCard({ project }: { project: Labelling }) {
  const { text, format } = useWords();
  const words = text.labelling;
  return (
    <section className="panel" style={{ margin: 0 }}>
      <h2 className="section-title break">
        <Link to={`/labelling/${project.id}`}>{project.name}</Link>
      </h2>
      <div className="row" style={{ marginBottom: 8 }}>
        <Tag variant="filled">{words.kind[project.kind]}</Tag>
        {!project.is_open && <Tag variant="filled">{words.closed}</Tag>}
        {!project.is_mine && <span className="muted small">{words.by(project.owner)}</span>}
      </div>
      <div className="muted small break">{project.dataset}</div>
      <Progress
        percent={(100 * project.num_done) / project.num_rows}
        showInfo={false}
        aria-label={project.name}
      />
      <div className="row between muted small num">
        <span>
          {words.progress(format.number(project.num_done), format.number(project.num_rows))}
        </span>
        <RelativeTime iso={project.updated_at} />
      </div>
    </section>
  );
}
