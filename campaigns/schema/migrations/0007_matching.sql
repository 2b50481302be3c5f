-- What uncharged_person_by_number_and_time finds as well.
DROP INDEX uncharged_person_by_number;
